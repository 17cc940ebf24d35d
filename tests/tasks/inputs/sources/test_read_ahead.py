import io
import os

import pytest

from clipes.tasks.inputs.sources.read_ahead import BLOCK, NEAR, SMALLEST, ReadAhead

CONTENT = os.urandom(2 * BLOCK + 1000)


class Counted(io.BytesIO):
    """A file that lists the ranges that are read from it."""

    def __init__(self, content):
        super().__init__(content)
        self.requests = []

    def read(self, size=-1):
        start = self.tell()
        data = super().read(size)
        self.requests.append((start, start + len(data)))
        return data


def read_at(file, position, size=100):
    file.seek(position)
    return file.read(size)


def test_near_parts_are_read_in_blocks():
    counted = Counted(CONTENT)
    file = ReadAhead(counted)
    places = range(0, len(CONTENT), NEAR)
    assert b"".join(read_at(file, place) for place in places) == b"".join(CONTENT[each : each + 100] for each in places)
    second = SMALLEST + (-SMALLEST) % NEAR
    assert counted.requests == [(0, SMALLEST), (second, second + BLOCK), (second + BLOCK, len(CONTENT))]


def test_parts_that_are_far_apart_or_behind_are_read_alone():
    counted = Counted(CONTENT)
    file = ReadAhead(counted)
    for place in (3 * NEAR, 6 * NEAR, NEAR):
        assert read_at(file, place) == CONTENT[place : place + 100]
        assert counted.requests[-1] == (place, place + SMALLEST)
    assert len(counted.requests) == 3


@pytest.mark.parametrize("size", [0, 7, BLOCK + 5])
def test_any_number_of_bytes_can_be_read(size):
    assert ReadAhead(io.BytesIO(CONTENT)).read(size) == CONTENT[:size]


def test_at_the_end_nothing_is_read():
    file = ReadAhead(io.BytesIO(CONTENT))
    assert read_at(file, len(CONTENT) - 50) == CONTENT[-50:]
    assert file.read(10) == b""
    assert file.seek(-3, io.SEEK_END) == len(CONTENT) - 3
    assert file.seek(1, io.SEEK_CUR) == len(CONTENT) - 2
    assert file.read() == CONTENT[-2:]
