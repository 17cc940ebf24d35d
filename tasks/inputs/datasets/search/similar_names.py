"""Find files whose names are similar to a name that does not exist."""

import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from clipes.tasks.storage.user_files import is_below, join, list_names
from clipes_core.errors import DatasetError, TransientError

MAX_LISTED_FOLDERS = 500  # remote folders; each takes a request, and a wrong list can name any number of folders
WEB_SERVERS = ("http://", "https://")  # they have no folders, and the page in place of one may be on any server


class SimilarNames:
    """The names in the folders of a data set. Each folder is listed at most once, when it is needed.

    Web servers list no folders, so no similar name is found there.

    Args:
        own: folders of the data set. The names of the folders below them may differ, too.
        unreadable: folders that cannot be listed, each with a slash at the end.
    """

    def __init__(self, own: Sequence[str], unreadable: Collection[str]) -> None:
        self._own, self._unreadable = own, unreadable
        self._folders: dict[str, Mapping[str, list[str]]] = {}

    def find(self, uri: str) -> list[str]:
        """Return the URIs of the files and folders that have the name of `uri` apart from case and Unicode form."""
        folder, _, name = uri.rpartition("/")
        return [join(each, other) for each in self._spellings(folder) for other in self._alike(each, name)]

    def suggest(self, uri: str) -> list[str]:
        """Return the names in the folder of `uri` that are its name apart from case, Unicode form and extension."""
        folder, _, name = uri.rpartition("/")
        stem = _stem(name)
        return [other for each in self._spellings(folder) for other in self._names(each).get(stem, ()) if other != name]

    def _spellings(self, folder: str) -> list[str]:
        """Return the folder or, below one of the own folders, the folders with a similar path that exist."""
        top = next((place for place in self._own if is_below(folder, place)), folder)
        found = [top]
        for name in folder.removeprefix(top).split("/"):
            found = [join(each, other) for each in found for other in self._alike(each, name)] if name else found
        return found

    def _alike(self, folder: str, name: str) -> list[str]:
        """Return the name itself if it exists in a folder, and otherwise the names with the same spelling."""
        names = [other for other in self._names(folder).get(_stem(name), ()) if _spelling(other) == _spelling(name)]
        return [name] if name in names else names

    def _names(self, folder: str) -> Mapping[str, list[str]]:
        """Return the names in a folder by the spelling of their stem; nothing if the folder cannot be listed."""
        if folder not in self._folders:
            self._folders[folder] = self._list(folder)
        return self._folders[folder]

    def _list(self, folder: str) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        if join(folder, "") in self._unreadable or folder.startswith(WEB_SERVERS):
            return found
        if "://" in folder and len(self._folders) >= MAX_LISTED_FOLDERS:
            return found
        with suppress(DatasetError, TransientError):  # the photos of this folder stay missing
            for name in list_names(folder or "/") or ():
                found[_stem(name)].append(name)
        return found


def _spelling(name: str) -> str:
    """Return a name in the form in which it is compared: without case, and in the same Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _stem(name: str) -> str:
    return posixpath.splitext(_spelling(name))[0]
