from dataclasses import asdict
from pathlib import Path

import pytest
from support.plain_runs import write_artifact
from support.prepared import prepare_run
from support.small_runs import make_run

from clipes.tasks.stages.columns.mask_facts import CRF_CHANGED, MaskFactsSummary, shard_mask_facts
from clipes.tasks.stages.masks import MASKS, MasksRow
from clipes.tasks.storage.layout import ArtifactKey, artifact_of
from clipes.tasks.storage.parquet.footer import read_footer
from clipes_core.errors import BrokenArtifactError
from clipes_core.evaluation.photos_to_check import MaskFacts

ROWS = [
    MasksRow(image_id="half", class_ids=(1, 2), class_pixels=(2, 1, 1), crf_changed=0.25),
    MasksRow(image_id="failed", class_ids=(1,), status="error", error="gone", error_kind="unreadable"),
    MasksRow(image_id="lost", class_ids=(1, 2), class_pixels=(3, 1, 0)),
    MasksRow(image_id="empty", class_ids=(), class_pixels=(4,)),
]
EXPECTED = {"half": MaskFacts(0.5, crf_changed=0.25), "lost": MaskFacts(0.25, unseen=(2,)), "empty": MaskFacts(None)}


def summary_of(rows):
    summary = MaskFactsSummary()
    for row in rows:
        summary.add(asdict(row))
    return summary.entries()


@pytest.mark.parametrize("stated", [True, False], ids=["in the footer", "only in the rows"])
@pytest.mark.parametrize("rows", [ROWS, ROWS[1:2]], ids=["all", "no mask"])
def test_the_facts_of_a_shard_are_those_of_its_rows(tmp_path, rows, stated):
    uri = write_artifact(str(tmp_path), MASKS, rows, **(summary_of(rows) if stated else {})).uri
    names = {row.image_id for row in rows}
    assert shard_mask_facts(uri) == {name: facts for name, facts in EXPECTED.items() if name in names}


def test_the_footer_suffices_for_the_facts(tmp_path):
    uri = write_artifact(str(tmp_path), MASKS, ROWS, **summary_of(ROWS)).uri
    older = write_artifact(str(tmp_path), MASKS, ROWS, shard=1).uri
    for path in map(Path, (uri, older)):
        content = path.read_bytes()
        rows = len(content) - len(read_footer(str(path)).content)
        path.write_bytes(bytes(rows) + content[rows:])

    assert shard_mask_facts(uri) == EXPECTED
    with pytest.raises(BrokenArtifactError):
        shard_mask_facts(older)


def test_a_run_states_the_facts_of_computed_and_copied_rows(tiny, pool):
    for name in ("a", "b", "c"):
        tiny.add(name, "cat")
    make_run(prepare_run(tiny.config(), "masks"), pool)
    tiny.add("d", "dog")  # the new artifact of a shard copies the rows of the other photos

    made = make_run(prepare_run(tiny.config(), "masks"), pool)

    rows, records = made.rows("masks"), made.of("masks")
    assert sum(record.copied for record in records) > 0
    found = {name: facts for record in records for name, facts in shard_mask_facts(record.uri).items()}
    assert found.keys() == rows.keys()
    for name, facts in found.items():
        pixels = rows[name]["class_pixels"]
        assert facts.crf_changed == rows[name]["crf_changed"]
        assert facts.foreground == 1 - pixels[0] / sum(pixels)
        assert facts.unseen == tuple(
            class_id for class_id, count in zip(rows[name]["class_ids"], pixels[1:], strict=True) if not count
        )


def as_of_an_earlier_version(store, record):
    """Write an artifact again as a version of clipes would that has neither the column nor the summary."""
    own = artifact_of(record.uri)
    shard, _, content_key = own.file.removesuffix(".parquet").partition("-")
    rows = [{name: value for name, value in row.items() if name != CRF_CHANGED} for row in store.read_rows(record.uri)]
    schema = MASKS.schema.remove(MASKS.schema.get_field_index(CRF_CHANGED))
    with store.writer(ArtifactKey(own.stage, own.stage_key, int(shard), content_key), schema, {}) as artifact:
        for row in rows:
            artifact.write(row)


def test_artifacts_of_an_earlier_version_stay_cached_and_their_rows_are_copied(tiny, pool):
    for name in ("a", "b", "c"):
        tiny.add(name, "cat")
    first = make_run(prepare_run(tiny.config(), "mask_scores"), pool)
    for record in first.of("masks"):
        as_of_an_earlier_version(first.run.store, record)

    again = make_run(prepare_run(tiny.config(), "mask_scores"), pool)
    assert all(record.cached for record in again.records.values())
    assert all(shard_mask_facts(record.uri) for record in again.of("masks"))

    tiny.add("d", "dog")
    made = make_run(prepare_run(tiny.config(), "mask_scores"), pool)
    changed = {name: row[CRF_CHANGED] for name, row in made.rows("masks").items()}
    found = {name: facts for record in made.of("masks") for name, facts in shard_mask_facts(record.uri).items()}
    assert {name: facts.crf_changed for name, facts in found.items()} == changed
    assert [name for name, value in changed.items() if value is not None] == ["d"]
