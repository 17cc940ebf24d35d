"""Parse the values of the option `--set`. A value is plain text, unless it starts with a quote or a bracket."""

from typing import Any

import yaml

from clipes.tasks.inputs.config_text.yaml_text import check_yaml
from clipes_core.errors import ConfigError

NO_VALUE = "null"
YAML_STARTS = ("[", "{", "'", '"')


def parse_override(override: str) -> dict[str, Any]:
    """Parse a string `key=value`, where the key is dotted.

    The value is everything after the first `=`, to the letter. So YAML cannot turn 012 into 10, yes into true, or cut
    off a comment. The check of the config converts the text to the type of its key. The word null means no value. A
    value that starts with a quote or a bracket is read as YAML, and its numbers and words also stay text.

    Returns:
        Nested dict with the value.

    Raises:
        ConfigError: there is no value; there is no key, or a part of it is empty or not printable; or a value that
            starts with a quote or a bracket is not YAML.
    """
    key, separator, text = override.partition("=")
    if not separator or not key.isprintable() or any(not part.strip() for part in key.split(".")):
        raise ConfigError(f"--set {override}: write it as key=value, for example --set cam.power=1")
    if not text.strip():
        raise ConfigError(f"--set {override}: {key} has no value; write {key}={NO_VALUE} for no value")
    try:
        value: Any = _from_yaml(text) if text.startswith(YAML_STARTS) else _plain(text)
    except (yaml.YAMLError, ValueError) as exc:
        advice = f"put the value in quotes: '{key}=\"...\"'"
        raise ConfigError(f"--set {override}: {' '.join(str(exc).split())}; {advice}") from exc
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _from_yaml(text: str) -> Any:
    check_yaml(text)
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert node is not None  # because the text starts with a quote or a bracket
    if text[node.end_mark.index :].strip():
        raise ValueError(f"unexpected text after the value: {text[node.end_mark.index :].strip()!r}")
    return _value_of(node)


def _value_of(node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value_of(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        pairs = [(_value_of(key), _value_of(value)) for key, value in node.value]
        if len({str(key) for key, _ in pairs}) < len(pairs):
            raise ValueError("a key occurs twice")
        return {str(key): value for key, value in pairs}
    assert isinstance(node, yaml.ScalarNode)  # the only other kind of node
    return _plain(node.value) if node.style is None else node.value


def _plain(text: str) -> str | None:
    return None if text == NO_VALUE else text
