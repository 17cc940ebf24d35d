from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from support.plain_runs import write_artifact
from support.prepared import prepare_run
from support.small_runs import make_run

from clipes.tasks.stages.columns.confidence import ConfidenceSummary, shard_confidence
from clipes.tasks.stages.masks import MASKS, MasksRow
from clipes.tasks.storage.parquet.footer import read_footer
from clipes_core.confidence import mean_confidence
from clipes_core.errors import BrokenArtifactError

HISTOGRAMS = np.random.default_rng(5).integers(0, 90, (4, 256))
ROWS = [
    *(
        MasksRow(image_id=name, class_ids=(1,), confidence_histogram=tuple(counts.tolist()))
        for name, counts in zip("abcd", HISTOGRAMS, strict=True)
    ),
    MasksRow(image_id="failed", class_ids=(1,), status="error", error="gone", error_kind="unreadable"),
]


def summary_of(rows):
    summary = ConfidenceSummary()
    for row in rows:
        summary.add(asdict(row))
    return summary.entries()


@pytest.mark.parametrize("rows", [ROWS, ROWS[4:], ROWS[3:]], ids=["all", "no mask", "one mask"])
@pytest.mark.parametrize("stated", [True, False], ids=["in the footer", "only in the rows"])
def test_the_confidence_of_a_shard_is_that_of_its_rows(tmp_path, rows, stated):
    record = write_artifact(str(tmp_path), MASKS, rows, **(summary_of(rows) if stated else {}))

    found = shard_confidence(record.uri)

    masks = [row for row in rows if row.status == "ok"]
    assert found.means == {
        row.image_id: np.float32(mean_confidence(np.array(row.confidence_histogram))) for row in masks
    }
    assert (
        found.histogram.tolist() == sum((np.array(row.confidence_histogram) for row in masks), np.zeros(256)).tolist()
    )


def test_the_footer_suffices_for_the_confidence(tmp_path):
    uri = write_artifact(str(tmp_path), MASKS, ROWS, **summary_of(ROWS)).uri
    older = write_artifact(str(tmp_path), MASKS, ROWS, shard=1).uri
    for path in map(Path, (uri, older)):
        content = path.read_bytes()
        rows = len(content) - len(read_footer(str(path)).content)
        path.write_bytes(bytes(rows) + content[rows:])

    assert len(shard_confidence(uri).means) == 4
    with pytest.raises(BrokenArtifactError):
        shard_confidence(older)


def test_a_run_states_the_confidence_of_computed_and_copied_rows(tiny, pool):
    for name in ("a", "b", "c"):
        tiny.add(name, "cat")
    make_run(prepare_run(tiny.config(), "masks"), pool)
    tiny.add("d", "dog")  # the new artifact of a shard copies the rows of the other photos

    made = make_run(prepare_run(tiny.config(), "masks"), pool)

    rows, records = made.rows("masks"), made.of("masks")
    assert sum(record.copied for record in records) > 0
    for record in records:
        assert "confidence" in read_footer(record.uri).metadata
        for image_id, mean in shard_confidence(record.uri).means.items():
            assert mean == np.float32(mean_confidence(np.array(rows.pop(image_id)["confidence_histogram"])))
    assert rows == {}
