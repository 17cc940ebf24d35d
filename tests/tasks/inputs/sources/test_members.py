import posixpath
from collections import Counter

import pytest

from clipes.tasks.inputs.sources.archives import Index, Member
from clipes.tasks.inputs.sources.members import SCHEMA, Members

NAMES = ["a.jpg", "x/a.jpg", "träd/b.JPG", "no-utf8-\udcff.png", "two\nlines.txt", "c.tar.gz", "d.", "e", ".f", "x/.f"]


def index(**faults: str) -> Index:
    return Index({name: Member(f"{number}+7", number) for number, name in enumerate(NAMES)}, faults, "is damaged")


def test_the_members_of_an_index_are_found_by_their_names():
    members = Members.of(index(link="is a link"))
    assert members.table.schema == SCHEMA
    assert members.damage == "is damaged"
    found = list(members.find([*NAMES, "link", "none", "a.jpg"]))
    assert found == [*(Member(f"{number}+7", number) for number in range(len(NAMES))), "is a link", None, found[0]]


def test_the_extensions_of_the_other_members_are_counted():
    members = Members.of(index(link="is a link"))
    extensions = [posixpath.splitext(name)[1].removeprefix(".") or "no extension" for name in [*NAMES, "link"]]
    assert members.other_extensions([]) == Counter(extensions)
    assert members.other_extensions([*NAMES, "none"]) == {"no extension": 1}


@pytest.mark.parametrize("names", [[], ["a.jpg"]])
def test_an_archive_without_members_has_none(names):
    members = Members.of(Index({}))
    assert list(members.find(names)) == [None] * len(names)
    assert members.other_extensions(names) == {}
