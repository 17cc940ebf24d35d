"""Declare the rows of artifacts as dataclasses, in which each field states the Arrow type of its column."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from clipes_core.errors import ErrorKind, PhotoError

if TYPE_CHECKING:
    import pyarrow as pa

IN_DIGEST = "in_digest"  # name of an entry in the metadata of a row's field
DIGESTS = ("input_digest", "output_digest")  # digest of the inputs of a photo's row, and digest of its content


def column(arrow_type: str, default: Any = MISSING, *, in_digest: bool = True) -> Any:
    """Declare a field of a row class and the type of the field's column.

    Args:
        arrow_type: Arrow's name of the column's type, such as `int32`, `binary` or `list<float32>`.
        default: value in rows that do not set the field. A field without a default must be set in every row.
        in_digest: whether the digest of a row covers the field. If no stage reads a new column, and its default is
            None, the column can be added without it: the results of all stages then stay cached.

    Raises:
        TypeError: `in_digest` is False and the default is not None.
    """
    if not in_digest and default is not None:
        raise TypeError("a column outside the digest needs the default None, for the rows of earlier versions")
    return field(default=default, metadata={"arrow_type": arrow_type, IN_DIGEST: in_digest})


@dataclass(frozen=True, kw_only=True)
class PhotoRow:
    """Base class of the rows that stand for photos, one row per photo.

    Attributes:
        image_id: id of the photo.
        status: `ok` if the photo has a result, `error` if it has none.
        error: reason why the photo has no result; None if it has one.
        error_kind: value of `clipes_core.errors.ErrorKind` for this reason; None if the photo has a result.
    """

    image_id: str = column("string")
    status: str = column("string", "ok")
    error: str | None = column("string", None)
    error_kind: str | None = column("string", None)

    @classmethod
    def failed(cls, image_id: str, error: PhotoError, **columns: Any) -> Self:
        """Return the row of a photo without a result."""
        return cls(image_id=image_id, status="error", error=error.reason, error_kind=error.kind, **columns)


def check_upstream(row: Mapping[str, Any], result: str) -> None:
    """Check that an upstream row holds a result.

    Args:
        row: row of the upstream stage, with the columns status and error.
        result: name of the result in the error message, such as `mask`.

    Raises:
        PhotoError: the row holds no result. The kind of the error is UPSTREAM.
    """
    if row["status"] != "ok":
        raise PhotoError(ErrorKind.UPSTREAM, f"no {result}: {row['error']}")


@cache
def schema_of(row: type) -> "pa.Schema":
    """Return the Arrow schema of a row class. If the rows stand for photos, the schema also has the columns DIGESTS."""
    import pyarrow as pa  # imported here, because most commands use stages but read no artifact

    return pa.schema([(name, _arrow_type(arrow_type)) for name, arrow_type in _columns(row)])


def _columns(row: type) -> Iterator[tuple[str, str]]:
    own = [(each.name, _stated_type(row, each)) for each in fields(row)]
    if not issubclass(row, PhotoRow):
        return iter(own)
    base = len(fields(PhotoRow))
    return iter([*own[:base], *((name, "string") for name in DIGESTS), *own[base:]])


def _stated_type(row: type, declared: "Field[Any]") -> str:
    if "arrow_type" not in declared.metadata:
        raise TypeError(f"{row.__name__}.{declared.name} states no Arrow type: declare it with column(...)")
    return str(declared.metadata["arrow_type"])


def _arrow_type(name: str) -> "pa.DataType":
    import pyarrow as pa

    if name.startswith("list<"):
        return pa.list_(_arrow_type(name.removeprefix("list<").removesuffix(">")))
    return pa.type_for_alias(name)
