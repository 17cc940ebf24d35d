"""A small config, and the message about a config that is refused."""

import pytest

from clipes_core.errors import ConfigError

YAML = "name: mine\ndataset: {format: list, split: photos.txt}\n"


def fault(load, *overrides, **text):
    """Return the message of the ConfigError that a fixture `load` raises with these arguments."""
    with pytest.raises(ConfigError) as caught:
        load(*overrides, **text)
    return str(caught.value)
