import json
import os
import platform
import socket
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec

import pytest
from support.ledger_records import reject
from support.plain_runs import VOCABULARY, photo, plain_run, run_inputs

from clipes.tasks.machine.processes import started_at
from clipes.tasks.runs.record import contents
from clipes.tasks.runs.record.contents import (
    MANIFEST_SCHEMA,
    REJECTS_SCHEMA,
    REPORTED_PACKAGES,
    chosen_values,
    manifest_table,
    ranked_before,
    ranked_json,
    rejects_table,
    run_json,
    time_now,
)
from clipes.tasks.stages.texts import RankingOfTemplates
from clipes.tasks.stages.words.word_texts import RankingOfWords
from clipes_core.config.run import parse_config
from clipes_core.errors import ErrorKind
from clipes_core.vocabulary import Vocabulary

A, B = photo("a", (1, 2)), photo("b", (), truth=False)
TEMPLATES = ("a {}.", "the {}.")


def run_of(*stages, template="a {}.", **values):
    settings = {"prompts": {"template": template}}
    return plain_run("/store", run_inputs((A,), (), (B,), settings=settings, **values), stages, (reject("c"),))


def test_run_json_identifies_the_process():
    begun = run_json(run_of("texts"))
    assert (begun["host"], begun["pid"]) == (socket.gethostname(), os.getpid())
    assert begun["pid_started"] == started_at(os.getpid())
    assert (begun["state"], begun["finished"], begun["error"]) == ("running", None, None)


def test_run_json_holds_the_inputs_of_the_run():
    run = run_of("texts", "cams", ranking=RankingOfTemplates(TEMPLATES))
    begun = json.loads(json.dumps(run_json(run), allow_nan=False))
    assert (begun["until"], begun["photos"], begun["rejected"]) == ("cams", 2, 1)
    assert (begun["model_digest"], begun["precision"]) == ("digest of weights", "fp32")
    assert begun["candidates"] == list(TEMPLATES)
    assert parse_config(begun["config"]) == run.config
    assert Vocabulary.model_validate(begun["vocabulary"]) == VOCABULARY


@pytest.mark.parametrize(
    ("until", "ranking", "candidates", "words"),
    [
        ("masks", None, [], []),
        ("masks", RankingOfTemplates(TEMPLATES), [*TEMPLATES], []),  # prompts.template is auto
        ("prompt_scores", RankingOfTemplates(TEMPLATES), [*TEMPLATES], []),
        ("word_scores", RankingOfWords(("kitten",)), [], ["kitten"]),
    ],
)
def test_run_json_lists_the_candidates_by_the_kind_of_ranking(until, ranking, candidates, words):
    expected = {"candidates": candidates, "words": words}
    assert ranked_json(ranking) == expected
    assert ranked_before({"until": until, **expected}) == expected
    of_earlier_version = {"until": until, "candidates": candidates + words}
    assert ranked_before(of_earlier_version) == expected


def test_run_json_lists_the_versions_of_packages():
    versions = run_json(run_of("texts"))["versions"]
    installed = [name for name in contents.OPTIONAL_PACKAGES if name != "pydensecrf2" or find_spec("pydensecrf")]
    assert list(versions) == ["python", *REPORTED_PACKAGES, *installed]
    assert versions["python"] == platform.python_version()
    assert all(versions[name] == version(name) for name in versions if name != "python")


def test_run_json_leaves_out_extras_that_are_not_installed(monkeypatch):
    monkeypatch.setattr(contents, "OPTIONAL_PACKAGES", {"no_such_package": "crf.backend=none"})
    assert list(run_json(run_of("texts"))["versions"]) == ["python", *REPORTED_PACKAGES]


@pytest.mark.parametrize("template", ["a {}.", TEMPLATES])
def test_a_given_template_is_recorded_with_the_stage_keys(template):
    run = run_of("texts", "cams", template=template)
    chosen = chosen_values(run)
    assert chosen == {"template": template, "stage_keys": run.keys}
    assert list(chosen["stage_keys"]) == ["texts", "cams"]


def test_an_automatic_template_is_recorded_after_it_is_chosen():
    ranking = ("candidate_texts", "embeddings", "prompts")
    run = run_of(*ranking, "texts", "cams", template="auto", ranking=RankingOfTemplates(TEMPLATES))
    before, after = chosen_values(run), chosen_values(run.with_inputs(run.inputs.with_prompts(template="the {}.")))
    assert (before["template"], after["template"]) == (None, "the {}.")
    assert (list(before["stage_keys"]), list(after["stage_keys"])) == ([*ranking], [*ranking, "texts", "cams"])


def test_a_ranking_has_no_template():
    run = run_of("candidate_texts", "prompts", ranking=RankingOfTemplates(TEMPLATES))
    assert chosen_values(run)["template"] is None


def test_the_manifest_has_a_row_per_photo_with_its_shard():
    table = manifest_table({0: (A,), 7: (B,)})
    assert table.schema == MANIFEST_SCHEMA
    file = {"size_bytes": 100, "fingerprint": "100-1"}
    assert table.to_pylist() == [
        {
            "image_id": "a",
            "uri": "/photos/a.jpg",
            **file,
            "class_ids": [1, 2],
            "shard": 0,
            "truth_uri": "/truth/a.png",
            "truth_fingerprint": "9-1",
        },
        {
            "image_id": "b",
            "uri": "/photos/b.jpg",
            **file,
            "class_ids": [],
            "shard": 7,
            "truth_uri": None,
            "truth_fingerprint": None,
        },
    ]


def test_each_reject_has_a_row_with_stage_kind_and_reason():
    table = rejects_table([reject("a", ErrorKind.TOO_SMALL, "masks")])
    assert table.schema == REJECTS_SCHEMA
    assert table.to_pylist() == [
        {
            "image_id": "a",
            "uri": "/photos/a.jpg",
            "stage": "masks",
            "kind": "too_small",
            "reason": "a is too_small",
        }
    ]


def test_empty_tables_have_their_columns():
    assert (manifest_table({}).schema, manifest_table({}).num_rows) == (MANIFEST_SCHEMA, 0)
    assert (rejects_table([]).schema, rejects_table([]).num_rows) == (REJECTS_SCHEMA, 0)


def test_times_are_in_utc_to_the_second():
    before, now, after = datetime.now(UTC), datetime.fromisoformat(time_now()), datetime.now(UTC)
    assert before.replace(microsecond=0) <= now <= after
    assert (now.utcoffset().total_seconds(), now.microsecond) == (0, 0)
