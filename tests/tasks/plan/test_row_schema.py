from dataclasses import dataclass, fields

import pyarrow as pa
import pytest

from clipes.tasks.plan.row_schema import DIGESTS, PhotoRow, check_upstream, column, schema_of
from clipes_core.errors import ErrorKind, PhotoError


@dataclass(frozen=True, kw_only=True)
class TextRow:
    """A row that does not belong to a photo."""

    name: str = column("string")
    feature: tuple[float, ...] = column("list<float32>", ())
    cells: tuple[tuple[int, ...], ...] = column("list<list<uint8>>", ())


@dataclass(frozen=True, kw_only=True)
class SizeRow(PhotoRow):
    """A row that belongs to a photo."""

    class_ids: tuple[int, ...] = column("list<int16>")
    size: int | None = column("int64", None)


@dataclass(frozen=True)
class BareRow:
    """A row with a field that has no Arrow type."""

    name: str = column("string")
    size: int = 0


def test_a_field_determines_the_type_of_its_column():
    expected = [("name", pa.string()), ("feature", pa.list_(pa.float32())), ("cells", pa.list_(pa.list_(pa.uint8())))]
    assert schema_of(TextRow) == pa.schema(expected)


def test_digests_follow_the_columns_common_to_all_photo_rows():
    schema = schema_of(SizeRow)
    assert schema.names == ["image_id", "status", "error", "error_kind", *DIGESTS, "class_ids", "size"]
    assert {str(schema.field(name).type) for name in schema.names[:6]} == {"string"}
    assert (schema.field("class_ids").type, schema.field("size").type) == (pa.list_(pa.int16()), pa.int64())
    assert not set(DIGESTS) & {each.name for each in fields(SizeRow)}  # the worker adds them


def test_the_error_for_a_field_without_a_type_names_it():
    with pytest.raises(TypeError, match=r"^BareRow\.size states no Arrow type: declare it with column\(\.\.\.\)$"):
        schema_of(BareRow)


def test_a_field_without_a_default_must_be_set():
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'class_ids'"):
        SizeRow(image_id="a")
    assert SizeRow(image_id="a", class_ids=(3,)).size is None


def test_a_row_without_an_error_has_status_ok():
    row = SizeRow(image_id="a", class_ids=(3,), size=7)
    assert (row.status, row.error, row.error_kind) == ("ok", None, None)


def test_the_row_of_a_failed_photo_has_reason_and_kind():
    row = SizeRow.failed("a", PhotoError(ErrorKind.TOO_SMALL, "a.jpg is 1x1"), class_ids=(3, 5))
    expected = {"status": "error", "error": "a.jpg is 1x1", "error_kind": "too_small"}
    assert row == SizeRow(image_id="a", class_ids=(3, 5), size=None, **expected)


def test_a_photo_without_an_upstream_result_fails_with_the_upstream_reason():
    check_upstream({"status": "ok", "error": None}, "mask")
    with pytest.raises(PhotoError, match=r"^no mask: a\.jpg is empty$") as caught:
        check_upstream({"status": "error", "error": "a.jpg is empty"}, "mask")
    assert caught.value.kind is ErrorKind.UPSTREAM


@pytest.mark.parametrize("default", [{}, {"default": 0.0}])
def test_a_column_outside_the_digest_must_have_the_default_none(default):
    with pytest.raises(TypeError, match="needs the default None"):
        column("float64", **default, in_digest=False)
