"""Check a YAML text before it is read, because its content can be far larger than the text, and too deep to be read."""

import re
from dataclasses import dataclass, field

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_DEPTH = 100
MAX_NODES = 100_000  # a vocabulary of 254 classes has about 5 000
LARGEST = 10**300  # no floating-point number is as large as 10**309
MAY_BE_LARGER = 240  # characters that a number larger than LARGEST has at least, for example in hexadecimal notation
NUMBER = re.compile(r"[-+]?[0-9.][-+0-9a-fA-FxXo_:.]*")  # in any notation of YAML, such as 1e3, 0xff and 1:30:00
NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


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
    """Check that a YAML text is neither too large nor too deep, that no key occurs twice, and no number is too large.

    Raises:
        YAMLError: the text is not YAML.
        ValueError: a mapping has a key twice, lists and mappings are nested more than `MAX_DEPTH` times, the text has
            more than `MAX_NODES` values if all aliases are written out, an alias stands for a value that contains it,
            or a number is larger than `LARGEST`.
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
    """Check that a value is not a number too large for floating-point arithmetic."""
    may_be_number = event.implicit[0] or event.tag in NUMBER_TAGS  # implicit[0]: without quotes and without a tag
    if not may_be_number or len(event.value) < MAY_BE_LARGER or not NUMBER.fullmatch(event.value):
        return
    try:
        value = yaml.load(event.value, Loader=LOADER)
        too_large = not isinstance(value, str) and abs(value) > LARGEST
    except ValueError:  # Python converts at most 4300 decimal digits
        too_large = True
    if too_large:
        raise ValueError(f"the number {event.value[:10]}... has more than 300 digits ({_line(event)})")


def _size_of_alias(event: yaml.AliasEvent, path: list[_OpenNode], sizes: dict[str, int]) -> int:
    if any(node.anchor == event.anchor for node in path):
        raise ValueError(f"the alias *{event.anchor} contains itself ({_line(event)})")
    return sizes.get(event.anchor or "", 1)


def _line(event: yaml.Event) -> str:
    return f"line {event.start_mark.line + 1}" if event.start_mark else "unknown line"
