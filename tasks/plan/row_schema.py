"""Rows of artifacts. A stage declares its row as a dataclass, and each field states the type of its column."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from clipes_core.errors import ErrorKind, PhotoError

if TYPE_CHECKING:
    import pyarrow as pa

DIGESTS = ("input_digest", "output_digest")  # digests of the inputs of a photo's row, and of the row itself


def column(arrow_type: str, default: Any = MISSING) -> Any:
    """Declare a field of a row, and the column that holds it.

    Args:
        arrow_type: Arrow's name of the type, such as `int32`, `binary` or `list<float32>`.
        default: value in rows that do not set the field. A field without a default must be set in every row.
    """
    return field(default=default, metadata={"arrow_type": arrow_type})


@dataclass(frozen=True, kw_only=True)
class PhotoRow:
    """Base of the rows that stand for a photo.

    Attributes:
        image_id: id of the photo.
        status: ok, or error if the photo has no result.
        error: reason why the photo has no result.
        error_kind: kind of this reason, see `clipes_core.errors.ErrorKind`.
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
        result: name of the result, for the message.

    Raises:
        PhotoError: UPSTREAM; the photo has no result.
    """
    if row["status"] != "ok":
        raise PhotoError(ErrorKind.UPSTREAM, f"no {result}: {row['error']}")


@cache
def schema_of(row: type) -> "pa.Schema":
    """Return the Arrow schema of a row class. If the rows stand for photos, the columns DIGESTS are added."""
    import pyarrow as pa  # imported here because most commands name stages but read no artifact

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
