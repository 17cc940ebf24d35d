import json

import pytest

from clipes.tasks.commands.export.files.class_list import Classes
from clipes_core.errors import UsageError


def run_of(*names):
    return {"name": "r", "vocabulary": {"classes": [{"name": name} for name in names], "background_words": []}}


def test_classes_json_lists_every_id_with_name_and_colour():
    listed = json.loads(Classes.of_run(run_of("cat", "dög")).to_json())
    assert listed == [
        {"id": 0, "name": "background", "colour": [0, 0, 0]},
        {"id": 1, "name": "cat", "colour": [128, 0, 0]},
        {"id": 2, "name": "dög", "colour": [0, 128, 0]},
        {"id": 255, "name": "ignore", "colour": [224, 224, 192]},
    ]


def test_the_names_of_background_and_ignore_differ_from_those_of_classes():
    classes = Classes.of_run(run_of("ignore", "background", "ignore_"))
    assert (classes.background.name, classes.ignore.name) == ("background_", "ignore__")
    assert classes.ignore.hex_colour == "#e0e0c0"


def test_a_run_without_recorded_classes_is_refused():
    with pytest.raises(UsageError, match=r"^run r was written by an earlier version of clipes: run it again"):
        Classes.of_run({"name": "r"})
