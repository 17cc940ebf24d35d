"""Extras: packages that few settings need, so that clipes installs them only on request."""

from dataclasses import dataclass
from importlib.util import find_spec

from clipes_core.errors import ConfigError


@dataclass(frozen=True)
class Extra:
    """An entry of `[project.optional-dependencies]` in pyproject.toml.

    Attributes:
        name: name of the entry.
        module: name of a module that the entry installs.
        requirements: what the installation needs, such as "a C++ compiler".
    """

    name: str
    module: str
    requirements: str

    @property
    def installed(self) -> bool:
        """True if the extra is installed."""
        return find_spec(self.module) is not None

    def check(self, choice: str) -> None:
        """Check that the extra is installed.

        Args:
            choice: the setting that needs the extra, and its value, such as "crf.backend=pydensecrf".

        Raises:
            ConfigError: the extra is not installed. The message contains the command that installs it.
        """
        if not self.installed:
            raise ConfigError(
                f"{choice}: the package {self.module} is not installed; choose another value, or run "
                f"pip install 'clipes[{self.name}]', which needs {self.requirements}"
            )
