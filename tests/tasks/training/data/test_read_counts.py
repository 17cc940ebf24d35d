from clipes.tasks.training.data.cached_files import FileRead
from clipes.tasks.training.data.read_counts import ReadCounts


def test_all_counts_start_at_zero():
    expected = {"local": 0, "hit": 0, "fetched": 0, "fetched_mb": 0.0, "read_seconds": 0.0, "unusable_photos": []}
    assert ReadCounts().plain() == expected


def test_files_are_counted_by_their_source():
    reads = ReadCounts()
    reads.add((FileRead("fetched", 1_500_000, 0.5), FileRead("local", 9_000_000, 0.25)), ())
    reads.add((FileRead("hit", 1_500_000, 0.125),), ("b", "a"))
    reads.add((FileRead("fetched", 500_000, 0.125),), ("a",))

    assert reads.plain() == {
        "local": 1,
        "hit": 1,
        "fetched": 2,
        "fetched_mb": 2.0,
        "read_seconds": 1.0,
        "unusable_photos": ["a", "b"],
    }
