"""Trainings that are killed and resumed: the result equals that of an undisturbed training."""

from pathlib import Path

import pytest
import torch
from support.small_trainings import failed_attempt, killer, result_of, same_weights, training_work

from clipes.tasks.plan.caching import Reuse
from clipes.tasks.storage.layout import checkpoints_uri, weights_uri
from clipes.tasks.training.hooks.checkpoints import CheckpointFolder
from clipes_core.errors import WorkerError


@pytest.fixture(scope="module")
def undisturbed(small):
    """Return the artifact and the result of an undisturbed training."""
    run = small.prepared()
    with training_work(run) as work:
        record = work.make(0)
    return record.uri, result_of(run, record)


def test_the_last_checkpoints_and_the_best_are_kept_intact(undisturbed):
    uri, result = undisturbed
    assert result.checkpoints == {"00000025.pt", "00000030.pt", "best.pt"}
    folder = Path(checkpoints_uri(uri))
    last, best = (torch.load(folder / name, weights_only=True) for name in ("00000030.pt", "best.pt"))
    assert all(torch.equal(last["model"][name], tensor) for name, tensor in result.weights.items())
    scores = {row["iteration"]: row["miou"] for row in result.curve if row["miou"] is not None}
    assert list(scores) == [21, 30]
    assert best["iteration"] == result.facts["best_iteration"] == max(scores, key=scores.get)


def test_a_killed_training_is_resumed(small, undisturbed, pool):
    """Use --fresh, which ignores checkpoints of earlier runs but resumes its own attempts."""
    _, expected = undisturbed
    run = small.prepared(Reuse(fresh=True))
    with training_work(run, pool) as work:
        with small.blocked():
            error = failed_attempt(work, killer())
        assert isinstance(error, WorkerError)
        assert "-9" in str(error)
        result = result_of(run, work.make(0))
    assert expected.facts["resumed_at"] == 0
    assert result.facts["resumed_at"] == 20
    assert result.curve == expected.curve
    assert same_weights(result, expected)
    assert result.checkpoints == expected.checkpoints


def test_missing_weights_are_rebuilt_from_the_newest_intact_checkpoint(small, undisturbed):
    uri, expected = undisturbed
    Path(weights_uri(uri)).unlink()
    newest = Path(checkpoints_uri(uri)) / "00000030.pt"
    newest.write_bytes(newest.read_bytes()[:-1000])
    CheckpointFolder(checkpoints_uri(uri), 9, "another training").write(28, {})
    run = small.prepared(execution={"loader_workers": 2})
    with training_work(run) as work:
        record = work.make(0)
    result = result_of(run, record)
    assert (record.cached, result.facts["resumed_at"]) == (False, 25)
    assert result.curve == expected.curve
    assert same_weights(result, expected)
