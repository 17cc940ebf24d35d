import inspect
import pickle
import re

import pytest

from clipes_core import errors
from clipes_core.errors import BrokenArtifactError, ClipesError, ErrorKind, PhotoError

ALL_ERRORS = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, ClipesError)]


def drawn_parents() -> dict[str, str]:
    """Return the parent of each error in the tree of the docstring."""
    path, parents = ["ClipesError"], {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([│ ]*)[├└]── (\w+)", line):
            depth = len(match[1]) // 4 + 1
            path[depth:] = [match[2]]
            parents[match[2]] = path[depth - 1]
    return parents


def test_the_tree_in_the_docstring_matches_the_classes():
    real = {error.__name__: error.__base__.__name__ for error in ALL_ERRORS if error is not ClipesError}
    assert drawn_parents() == real


@pytest.mark.parametrize("error", [e for e in ALL_ERRORS if e not in (PhotoError, BrokenArtifactError)])
def test_errors_can_be_sent_between_processes(error):
    copy = pickle.loads(pickle.dumps(error("crf.pos_w: too large")))
    assert type(copy) is error
    assert str(copy) == "crf.pos_w: too large"


def test_a_photo_error_sent_between_processes_keeps_kind_and_reason():
    copy = pickle.loads(pickle.dumps(PhotoError(ErrorKind.TOO_SMALL, "photo is 1 x 1 px")))
    assert type(copy) is PhotoError
    assert copy.kind is ErrorKind.TOO_SMALL
    assert copy.reason == str(copy) == "photo is 1 x 1 px"


def test_a_broken_artifact_error_sent_between_processes_keeps_its_parts():
    copy = pickle.loads(pickle.dumps(BrokenArtifactError("s3://store/a.parquet", "is missing", "run again")))
    assert type(copy) is BrokenArtifactError
    assert (copy.uri, copy.reason) == ("s3://store/a.parquet", "is missing")
    assert str(copy) == "s3://store/a.parquet is missing: run again; clipes will rebuild it"


def test_only_network_timeout_and_memory_errors_are_transient():
    transient = {kind.value for kind in ErrorKind if kind.transient}
    assert transient == {"changed", "network", "timeout", "out_of_memory"}


def test_an_error_kind_is_stored_as_its_value():
    for kind in ErrorKind:
        assert ErrorKind(str(kind)) is kind
        assert str(kind) == kind.name.lower()
