import pytest
from support.plain_runs import LengthRow, Lengths, photo, run_inputs

from clipes.tasks.plan.row_kinds import EVALUATION_ROWS, TEXT_ROWS, TRAINING_ROWS
from clipes.tasks.plan.row_schema import schema_of
from clipes.tasks.plan.stage import Stage, Summaries

INPUTS = run_inputs()
BASE = Lengths({"power": 2}, name="base")


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ({}, "abcd"),
        ({"needs_truth": True}, "acd"),
        ({"needs_labels": True}, "abd"),
        ({"sampled": True}, "bcd"),
        ({"needs_truth": True, "needs_labels": True}, "ad"),
        ({"needs_truth": True, "needs_labels": True, "sampled": True}, "d"),
    ],
)
def test_a_photo_has_a_row_if_it_has_everything_the_stage_needs(needs, expected):
    photos = photo("a"), photo("b", truth=False), photo("c", class_ids=()), photo("d")
    inputs = run_inputs(photos, sample=frozenset("bcd"))
    stage = Lengths(**needs)
    assert "".join(each.image_id for each in photos if stage.has_row(each, inputs)) == expected


def test_the_title_names_the_unit_unless_rows_are_photos_or_texts():
    assert [Lengths(kind=kind).title for kind in (TEXT_ROWS, EVALUATION_ROWS, TRAINING_ROWS)] == [
        "lengths",
        "lengths",
        "lengths (iterations)",
    ]


def test_the_columns_are_those_of_the_row():
    assert Lengths().schema == schema_of(LengthRow)


def test_only_stages_with_a_row_per_photo_are_read_by_photo():
    texts, training, scores = Lengths(kind=TEXT_ROWS), Lengths(kind=TRAINING_ROWS), Lengths(kind=EVALUATION_ROWS)
    stage = Lengths(upstream=(texts, BASE, training, scores))
    assert stage.photo_upstream == (BASE, scores)


def test_a_stage_is_enabled_by_default():
    assert Lengths().enabled(INPUTS.config)


def test_a_stage_must_define_reads_and_rows():
    with pytest.raises(TypeError, match=r"abstract methods '?reads'?, '?rows'?"):
        Stage()


class Count:
    """A summary that counts the rows."""

    def __init__(self, name):
        self.name, self.rows = name, 0

    def add(self, row):
        self.rows += 1

    def entries(self):
        return {self.name: str(self.rows)}


def test_several_summaries_get_all_rows_and_state_all_entries():
    summaries = Summaries(Count("one"), Count("other"))
    for _ in range(3):
        summaries.add({})
    assert summaries.entries() == {"one": "3", "other": "3"}
