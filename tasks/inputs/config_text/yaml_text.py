"""Check a YAML text before it is read, because its content can be far larger than the text, and too deep to be read."""

import re
from dataclasses import dataclass, field

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_DEPTH = 100
MAX_NODES = 100_000  # a vocabulary of 254 classes has about 5 000
MAX_DIGITS = 300  # no floating-point number is as large as an integer of 309 digits
NUMBER = re.compile(r"[-+]?[0-9.][-+0-9a-fA-FxXo_:.]*")  # in any notation of YAML, such as 1e3, 0xff and 1:30:00


@dataclass
class _OpenNode:
    """A list or mapping whose end is not read yet.

    Attributes:
        anchor: name by which aliases refer to it; None if it has none.
        is_mapping: True if its children are keys and values in turn.
        keys: the keys so far that are plain or quoted text.
        children: number of its children so far.
        nodes: number of nodes in it so far, with aliases expanded.
    """

    anchor: str | None = None
    is_mapping: bool = False
    keys: set[tuple[str, bool]] = field(default_factory=set)
    children: int = 0
    nodes: int = 1

    def add_child(self, event: yaml.NodeEvent) -> None:
        """Count a child, and check that a key is new."""
        if self.is_mapping and self.children % 2 == 0 and isinstance(event, yaml.ScalarEvent):
            key = (event.value, event.implicit[0])
            if key in self.keys:
                raise ValueError(f"the key {event.value!r} occurs twice ({_line(event)}); keep one of them")
            self.keys.add(key)
        self.children += 1

    def add_nodes(self, nodes: int) -> None:
        """Count nodes in a child."""
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise ValueError(f"it has more than {MAX_NODES} values if all aliases are written out; use fewer aliases")


def check_yaml(text: str) -> None:
    """Check that a YAML text is neither too large nor too deep, nor any number in it, and that no key occurs twice.

    Raises:
        YAMLError: the text is not YAML.
        ValueError: a mapping has a key twice, lists and mappings are nested more than `MAX_DEPTH` times, the text has
            more than `MAX_NODES` values if all aliases are written out, an alias stands for a value that contains it,
            or a number has more than `MAX_DIGITS` digits.
    """
    path, sizes = [_OpenNode()], dict[str, int]()
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.NodeEvent):
            path[-1].add_child(event)
        if isinstance(event, yaml.CollectionStartEvent):
            path.append(_OpenNode(event.anchor, isinstance(event, yaml.MappingStartEvent)))
            if len(path) > MAX_DEPTH:
                raise ValueError(f"its values are nested more than {MAX_DEPTH} times ({_line(event)})")
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = path.pop()
            path[-1].add_nodes(closed.nodes)
            sizes[closed.anchor or ""] = closed.nodes
        elif isinstance(event, yaml.AliasEvent):
            path[-1].add_nodes(_size_of_alias(event, path, sizes))
        elif isinstance(event, yaml.ScalarEvent):
            path[-1].add_nodes(1)
            _check_number(event)


def _check_number(event: yaml.ScalarEvent) -> None:
    """Check that a value is no number with too many digits. Python can neither print nor convert such a number."""
    is_text = event.implicit[1]  # a value in quotes
    if len(event.value) > MAX_DIGITS and not is_text and NUMBER.fullmatch(event.value):
        raise ValueError(f"the number {event.value[:10]}... has more than {MAX_DIGITS} digits ({_line(event)})")


def _size_of_alias(event: yaml.AliasEvent, path: list[_OpenNode], sizes: dict[str, int]) -> int:
    if any(node.anchor == event.anchor for node in path):
        raise ValueError(f"the alias *{event.anchor} contains itself ({_line(event)})")
    return sizes.get(event.anchor or "", 1)


def _line(event: yaml.Event) -> str:
    return f"line {event.start_mark.line + 1}" if event.start_mark else "unknown line"
