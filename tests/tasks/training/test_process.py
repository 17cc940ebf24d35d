from pathlib import Path

import pytest
import torch
from support.small_runs import TINY_NETWORK, planned
from support.small_trainings import training_work

from clipes.tasks.storage.layout import checkpoints_uri
from clipes_core.errors import StageError

OVERFLOWING = {
    "parameters": "optim_wrapper = dict(optimizer=dict(lr=1e30, weight_decay=1e30))",
    "statistics of batch norm": "model = dict(data_preprocessor=dict(std=[1e-30] * 3))",
}


@pytest.mark.slow
@pytest.mark.parametrize("line", OVERFLOWING.values(), ids=OVERFLOWING)
def test_a_network_that_is_not_finite_after_its_last_iteration_is_not_written(small, pool, tmp_path, line):
    (tmp_path / "own.py").write_text(f"_base_ = {str(TINY_NETWORK)!r}\n{line}\n")
    train = {"mmseg_config": str(tmp_path / "own.py"), "iterations": 1, "checkpoint_every": 1, "validate_every": 0}
    with (
        training_work(small.prepared(train=train, evaluation={"split": None}), pool) as work,
        pytest.raises(StageError, match=r"^the trained network contains NaN or infinity: set train\.precision=fp32"),
    ):
        work.make(0)


@pytest.mark.slow
def test_a_checkpoint_of_an_earlier_version_that_does_not_fit_is_reported(small, pool):
    with training_work(small.prepared(train={"iterations": 3}), pool) as work:
        records = {(record.stage, record.shard): record for record in work.ledger.records()}
        uri = work.run.store.artifact_uri(planned(work.run, work.stage, 0, records).key)
        folder = Path(checkpoints_uri(uri))
        folder.mkdir(parents=True)
        torch.save({"iteration": 20, "model": {}}, folder / "00000020.pt")
        with pytest.raises(StageError, match=rf"^the newest checkpoint in {folder} does not fit the training \(Error"):
            work.make(0)
