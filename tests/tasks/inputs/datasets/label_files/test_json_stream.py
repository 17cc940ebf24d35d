import io
import json
import random

import pytest

from clipes.tasks.inputs.datasets.label_files import json_stream
from clipes.tasks.inputs.datasets.label_files.json_stream import JsonLists

SCALARS = (1, -2.5, 1e-7, 12345678901, 'é漢"\\x\ud800', "", None, True)


def lists_of(data: bytes) -> dict[str, list]:
    found: dict[str, list] = {}
    for name, item in JsonLists(io.BytesIO(data), dict).items():
        assert data[item.offset :].startswith(item.text.encode())
        assert json.loads(item.text) == item.value
        found.setdefault(name, []).append(item.value)
    return found


def value(numbers: random.Random, depth: int = 0):
    kind = numbers.random()
    if depth > 3 or kind < 0.3:
        return numbers.choice(SCALARS)
    if kind < 0.65:
        return [value(numbers, depth + 1) for _ in range(numbers.randint(0, 4))]
    return {f"{numbers.choice('abcé')}{place}": value(numbers, depth + 1) for place in range(numbers.randint(0, 4))}


def document(numbers: random.Random) -> tuple[dict, bytes]:
    content = {f"k{place}": value(numbers) for place in range(4)}
    text = json.dumps(content, ensure_ascii=numbers.random() < 0.5, indent=numbers.choice([None, 1]))
    data = text.encode(errors="replace")
    return json.loads(data), b"\xef\xbb\xbf" * (numbers.random() < 0.3) + data


@pytest.mark.parametrize("chunk", [1, 2, 7, 50, 1000])
def test_the_items_and_their_places_do_not_depend_on_how_the_file_is_read(chunk, monkeypatch):
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    numbers = random.Random(chunk)
    for _ in range(300):
        content, data = document(numbers)
        assert lists_of(data) == {name: items for name, items in content.items() if isinstance(items, list) and items}


def is_valid(data: bytes) -> bool:
    try:
        json.loads(data.decode("utf-8-sig"))
    except ValueError:
        return False
    return True


def is_read(data: bytes) -> bool:
    try:
        list(JsonLists(io.BytesIO(data), dict).items())
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_it_refuses_what_the_decoder_of_whole_files_refuses(chunk, monkeypatch):
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    numbers = random.Random(chunk)
    for _ in range(500):
        _, data = document(numbers)
        changed = bytearray(data)
        changed[numbers.randrange(len(data))] = numbers.choice(b'{}[],:"x 1\xff')
        for damaged in (data[: numbers.randrange(len(data))], bytes(changed)):
            assert is_read(damaged) == is_valid(damaged), damaged


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [1, 2', "Expecting ',' at byte 11"),
        ('{"é": [1}', "Expecting ',' at byte 9"),
        ('{"a": [1]} 2', "Extra data at byte 11"),
        ('{"a": [nul]}', "Expecting value at byte 7"),
        ('{"a": [1], }', "Expecting property name enclosed in double quotes at byte 11"),
    ],
)
def test_an_error_names_its_place(text, message):
    with pytest.raises(ValueError, match=message):
        list(JsonLists(io.BytesIO(text.encode()), dict).items())


def test_empty_lists_are_found():
    lists = JsonLists(io.BytesIO(b'{"a": [], "b": {"c": []}, "d": [1]}'), dict)
    assert [name for name, _ in lists.items()] == ["d"]
    assert lists.names == ["a", "d"]
