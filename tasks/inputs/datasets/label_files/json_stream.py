"""Read a large JSON file piece by piece: the items of the lists of its object, one at a time."""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

CHUNK = 4 << 20  # [bytes]
BLANKS = re.compile(r"[ \t\n\r]*")
# Where a text is cut off, the decoder finds an error, or the end of a number, at most so many characters earlier.
NEAR_THE_END = 16
UNTERMINATED = "Unterminated string"  # the error of the decoder for a text that is cut off at any place

Pairs = list[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a list.

    Attributes:
        value: the item.
        offset: number of bytes before the item in the file.
        text: the JSON text of the item.
    """

    value: Any
    offset: int
    text: str


class JsonLists:
    """The lists in the object of a JSON file. Only one item of a list is in memory at a time.

    Values of the object that are not lists are checked and dropped.

    Args:
        file: the file; read from its start to its end.
        hook: function that turns the members of each JSON object into its value, as in `json.loads`.

    Attributes:
        names: names of the lists that were found so far.
    """

    def __init__(self, file: BinaryIO, hook: Callable[[Pairs], Any]) -> None:
        self._text, self._decoder = _Text(file), json.JSONDecoder(object_pairs_hook=hook)
        self._hook = hook
        self.names: list[str] = []

    def items(self) -> Iterator[tuple[str, Item]]:
        """Yield the name of a list and one of its items, in the file's order.

        Raises:
            ValueError: the file is broken JSON. The message gives the reason.
            UnicodeDecodeError: the file is not UTF-8 text.
            RecursionError: values are nested too deeply.
        """
        try:
            yield from self._items()
        except json.JSONDecodeError as exc:
            where = self._text.offset + len(exc.doc[self._text.position : exc.pos].encode(errors="surrogatepass"))
            raise ValueError(f"{exc.msg} at byte {where}") from exc

    def _items(self) -> Iterator[tuple[str, Item]]:
        text = self._text
        if text.next() != "{":
            text.value(self._decoder)
        else:
            keys: list[str] = []
            text.skip("{")
            while text.next() != "}" or keys:
                if text.next() != '"':
                    raise text.error("Expecting property name enclosed in double quotes")
                keys.append(text.value(self._decoder).value)
                self._hook([(key, None) for key in keys])  # checks the keys
                text.skip(":")
                if text.next() == "[":
                    self.names.append(keys[-1])
                    yield from ((keys[-1], item) for item in self._list())
                else:
                    text.value(self._decoder)
                if text.next() == "}":
                    break
                text.skip(",")
            text.skip("}")
        if text.next():
            raise text.error("Extra data")

    def _list(self) -> Iterator[Item]:
        text = self._text
        text.skip("[")
        if text.next() != "]":
            yield text.value(self._decoder)
            while text.next() != "]":
                text.skip(",")
                yield text.value(self._decoder)
        text.skip("]")


class _Text:
    """The part of a JSON file that has been read, but not used.

    Args:
        file: the file.

    Attributes:
        offset: number of bytes of the file that have been used.
        position: place in the part at which the next use begins.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._decode = file, codecs.getincrementaldecoder("utf-8")().decode
        self._text, self._ended = "", False
        self.offset = self.position = 0
        start = file.read(len(codecs.BOM_UTF8))
        if start == codecs.BOM_UTF8:
            self.offset = len(start)
        else:
            self._text = self._decode(start)

    def next(self) -> str:
        """Return the next character that is not blank, without using it; an empty text at the end of the file."""
        while True:
            found = BLANKS.match(self._text, self.position)
            self._use(found.end() if found else self.position)
            if self.position < len(self._text) or not self._read():
                return self._text[self.position : self.position + 1]

    def skip(self, character: str) -> None:
        """Use the next character, which must be the given one.

        Raises:
            JSONDecodeError: it is another one.
        """
        if self.next() != character:
            raise self.error(f"Expecting {character!r}")
        self._use(self.position + 1)

    def value(self, decoder: json.JSONDecoder) -> Item:
        """Use the next value.

        Raises:
            JSONDecodeError: there is no valid value.
        """
        self.next()
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self.position)
            except json.JSONDecodeError as exc:
                cut_off = exc.pos >= len(self._text) - NEAR_THE_END or exc.msg.startswith(UNTERMINATED)
                if not cut_off or not self._read():
                    raise
                continue
            if end < len(self._text) - NEAR_THE_END or not self._read():  # a number may be cut off
                break
        item = Item(value, self.offset, self._text[self.position : end])
        self._use(end)
        return item

    def error(self, message: str) -> json.JSONDecodeError:
        """Return an error at the current place."""
        return json.JSONDecodeError(message, self._text, self.position)

    def _use(self, end: int) -> None:
        size = end - self.position
        self.offset += size if self._text.isascii() else len(self._text[self.position : end].encode())
        self.position = end

    def _read(self) -> bool:
        """Read on; return whether the file has not ended. A long value is read in pieces that become longer."""
        if self._ended:
            return False
        data = self._file.read(max(CHUNK, len(self._text) - self.position))
        self._ended = not data
        text = self._decode(data, final=self._ended)
        if text:
            self._text, self.position = self._text[self.position :] + text, 0
        return not self._ended
