"""The result of one check of the commands `doctor` and `check`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: name of the checked item, such as a package, weights or store.
        works: true if the item can be used; None if it can be used, but the detail is a warning.
        detail: description of the item. If the item cannot be used, the problem and its solution.
    """

    what: str
    works: bool | None
    detail: str
