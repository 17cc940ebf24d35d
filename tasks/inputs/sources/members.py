"""The members of an archive as Arrow columns, which need little memory and time even for millions of members."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from clipes.tasks.inputs.sources.archives import Index, Member

SCHEMA = pa.schema([("name", pa.binary()), ("place", pa.string()), ("size_bytes", pa.int64()), ("fault", pa.string())])
# As posixpath.splitext: dots at the start of a file name begin no extension.
EXTENSION = r"(?s)^(?:.*/)?\.*[^./][^/]*\.(?P<extension>[^./]*)$"


@dataclass(frozen=True)
class Members:
    """The members of an archive.

    Attributes:
        table: the columns of SCHEMA: the encoded name; the place and the size of a member that can be read; and why a
            member cannot be read. Each row has either a place or a fault, and the names are unique.
        damage: as in `Index`.
    """

    table: pa.Table
    damage: str | None = None

    @classmethod
    def of(cls, index: Index) -> "Members":
        """Return the members of an index."""
        readable, faults = index.members.values(), index.faults
        columns = [
            [*map(_encoded, index.members), *map(_encoded, faults)],
            [*(member.place for member in readable), *(None for _ in faults)],
            [*(member.size_bytes for member in readable), *(None for _ in faults)],
            [*(None for _ in readable), *faults.values()],
        ]
        return cls(pa.table(columns, schema=SCHEMA), index.damage)

    def find(self, names: Collection[str]) -> Iterator[Member | str | None]:
        """Yield the member of each name, why it cannot be read, or None if the archive does not have it.

        Args:
            names: normalised names.
        """
        rows = pc.index_in(_column(names), value_set=self.table["name"])
        found = self.table.select(["place", "size_bytes", "fault"]).take(rows)
        for place, size_bytes, fault in zip(*(column.to_pylist() for column in found.columns), strict=True):
            yield fault if place is None else Member(place, size_bytes)

    def other_extensions(self, names: Collection[str]) -> Counter[str]:
        """Count the members that have none of the given names, by extension."""
        own = self.table["name"]
        others = own.filter(pc.invert(pc.is_in(own, value_set=_column(names))))
        extensions = pc.struct_field(pc.extract_regex(others, EXTENSION), "extension")
        found: Counter[str] = Counter()
        for counted in pc.value_counts(extensions).to_pylist():
            text = (counted["values"] or b"").decode(errors="replace")
            found[text or "no extension"] += counted["counts"]
        return found


def _column(names: Collection[str]) -> pa.Array:
    return pa.array(map(_encoded, names), pa.binary())


def _encoded(name: str) -> bytes:
    return name.encode(errors="surrogatepass")  # tarfile decodes bytes that are not UTF-8 into lone surrogates
