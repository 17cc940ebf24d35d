"""Extras: packages that only some uses of clipes need, so that they are installed only on request."""

from dataclasses import dataclass
from importlib.util import find_spec

from clipes_core.errors import ConfigError


@dataclass(frozen=True)
class Extra:
    """An entry of `[project.optional-dependencies]` in pyproject.toml.

    Attributes:
        name: name of the entry.
        module: name of a module that the entry installs.
        requirements: what the installation needs, such as "a C++ compiler" or "240 MB of disk space".
    """

    name: str
    module: str
    requirements: str

    @property
    def installed(self) -> bool:
        """True if the extra is installed."""
        return find_spec(self.module) is not None

    def check(self, use: str, alternative: str = "choose another value") -> None:
        """Check that the extra is installed.

        Args:
            use: what needs the extra, such as "crf.backend=pydensecrf".
            alternative: what the user can do instead of installing it; empty if nothing.

        Raises:
            ConfigError: the extra is not installed. The message contains the command that installs it.
        """
        if not self.installed:
            raise ConfigError(f"{use}: {self.advice(alternative)}")

    def advice(self, alternative: str = "") -> str:
        """Return that the package is not installed, and the command that installs it.

        Args:
            alternative: what the user can do instead of installing it; empty if nothing.
        """
        instead = f"{alternative}, or " if alternative else ""
        return (
            f"the package {self.module} is not installed; {instead}run pip install 'clipes[{self.name}]', which needs "
            f"{self.requirements}"
        )


NOTEBOOK = Extra("notebook", module="pandas", requirements="80 MB of disk space")
PYDENSECRF = Extra("pydensecrf", module="pydensecrf", requirements="Python 3.11 or 3.12 and a C++ compiler")
RAY = Extra("ray", module="ray", requirements="240 MB of disk space")
S3 = Extra("s3", module="s3fs", requirements="25 MB of disk space")
TOKENIZERS = Extra("tokenizers", module="tokenizers", requirements="12 MB of disk space")
TRAIN = Extra("train", module="mmseg", requirements="160 MB of disk space")
EXTRAS = (NOTEBOOK, PYDENSECRF, RAY, S3, TOKENIZERS, TRAIN)
