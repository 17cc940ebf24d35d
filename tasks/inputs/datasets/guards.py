"""Guards that confine errors: an error in a row rejects this row, and an error in a list file names this file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from clipes.tasks.inputs.datasets.entries import rejected
from clipes.tasks.inputs.photos import Reject
from clipes_core.config.uri import without_secrets
from clipes_core.errors import ClipesError, DatasetError, ErrorKind, PhotoError

Row = TypeVar("Row")


def read_row(read: Callable[[], Row], where: str, uri: str) -> Row | Reject:
    """Read one row of a data set; reject the row if `read` raises any error.

    Args:
        read: function that reads the row.
        where: location of the row, such as `line 7`. It is the image id of the `Reject`.
        uri: URI of the file that contains the row.

    Raises:
        ClipesError: an error that concerns more than this row, such as a store that does not answer.
    """
    try:
        return read()
    except PhotoError as error:
        return rejected(where, uri, error)
    except ClipesError:
        raise
    except Exception as exc:
        reason = f"{where} of {uri} cannot be read ({_describe(exc)}); correct it"
        return rejected(where, uri, PhotoError(ErrorKind.UNREADABLE_LABELS, reason))


@contextmanager
def reading_list(uri: str, advice: str) -> Iterator[None]:
    """Translate any error of the block that is not a ClipesError into a DatasetError that names the list file.

    Args:
        uri: URI of the list file.
        advice: what the user must do, as the end of the message.

    Raises:
        DatasetError: the block raised an error that is neither a ClipesError nor a FileNotFoundError.
    """
    try:
        yield
    except (ClipesError, FileNotFoundError):
        raise
    except Exception as exc:
        raise DatasetError(f"{uri}: cannot be read ({_describe(exc)}); {advice}") from exc


def _describe(error: Exception) -> str:
    return without_secrets(f"{type(error).__name__}: {' '.join(str(error).split())}")
