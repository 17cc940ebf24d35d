import posixpath
import subprocess
import sys
from typing import Annotated

import pytest
from pydantic import ValidationError

from clipes_core.config.choice import NamedFunction, NameIn, look_up
from clipes_core.config.section import Section
from clipes_core.errors import ConfigError

TABLE = {"red": 1, "green": 2, "blue": 3}
ONE = {"red": 1}


class Paint(Section):
    colour: Annotated[str, NameIn(TABLE)] = "red"
    only: Annotated[str, NameIn(ONE)] = "red"


def complaint(**values):
    with pytest.raises(ValidationError) as caught:
        Paint(**values)
    (error,) = caught.value.errors()
    return error["msg"]


@pytest.mark.parametrize("value", ["pink", 3, None, ["red"], True])
def test_a_value_outside_the_table_is_refused_like_a_literal(value):
    assert complaint(colour=value) == "Input should be 'red', 'green' or 'blue'"
    assert complaint(only=value) == "Input should be 'red'"


def test_a_name_in_the_table_is_accepted():
    assert Paint(colour="blue").model_dump(mode="json") == {"colour": "blue", "only": "red"}


def test_the_schema_lists_the_names():
    properties = Paint.model_json_schema()["properties"]
    assert properties["colour"] == {
        "title": "colour",
        "type": "string",
        "minLength": 1,
        "maxLength": 4096,
        "default": "red",
        "enum": ["red", "green", "blue"],
    }


def test_a_name_added_later_is_accepted(monkeypatch):
    monkeypatch.setitem(TABLE, "pink", 4)
    assert Paint(colour="pink").colour == "pink"
    assert Paint.model_json_schema()["properties"]["colour"]["enum"][-1] == "pink"


def test_a_row_is_looked_up_by_the_value_of_a_setting():
    assert look_up(TABLE, "blue", "wall.colour") == 3


def test_the_error_for_an_unknown_name_gives_the_setting_and_known_names():
    with pytest.raises(ConfigError, match=r"^wall\.colour: Input should be 'red', 'green' or 'blue' \(got 'pink'\)$"):
        look_up(TABLE, "pink", "wall.colour")
    with pytest.raises(ConfigError, match=r"^wall\.colour: Input should be 'red' \(got 'pink'\)$"):
        look_up(ONE, "pink", "wall.colour")


def test_a_named_function_is_imported_when_it_is_used():
    assert NamedFunction("posixpath:join").load() is posixpath.join
    assert NamedFunction("no_such_module:join").function == "no_such_module:join"


def test_reading_a_config_imports_no_heavy_libraries():
    program = "import sys, clipes_core.config.run; print({'torch', 'numpy', 'cv2', 'pydensecrf'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
