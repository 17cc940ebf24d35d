"""Find the files of listed photos, also if their names on disk differ in case or Unicode form from the list."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clipes.tasks.inputs.datasets.entries import Entry
from clipes.tasks.inputs.datasets.search.similar_names import SimilarNames
from clipes.tasks.inputs.sources.source import Failure
from clipes.tasks.inputs.sources.table import find_files
from clipes.tasks.storage.listing import FileFacts
from clipes.tasks.storage.user_files import is_below
from clipes_core.errors import PhotoError, TransientError

Places = tuple[str, ...]  # the URIs at which a photo or a true mask may be found


@dataclass(frozen=True)
class PhotoFiles:
    """The files of the photos and true masks.

    Attributes:
        exact: URI -> metadata of the file at this URI.
        similar: places at which there is no file -> metadata of the only file that has the name of one of these places
            apart from case and Unicode form.
        failures: URI -> error of a file that cannot be looked up; see `Found`.
        names: names of the files in the folders.
    """

    exact: Mapping[str, FileFacts]
    similar: Mapping[Places, FileFacts]
    failures: Mapping[str, Failure]
    names: SimilarNames

    def find(self, places: Places) -> FileFacts | None:
        """Return the metadata of the first file at some places, or else of the file with a similar name."""
        return next((self.exact[uri] for uri in places if uri in self.exact), self.similar.get(places))

    def failure(self, places: Places) -> Failure | None:
        """Return the first error of the files at some places; None if all of them can be looked up."""
        return next((self.failures[uri] for uri in places if uri in self.failures), None)


def find_photo_files(entries: Sequence[Entry], own: Sequence[str], store: str | None) -> PhotoFiles:
    """Find the photos and the true masks of entries.

    Args:
        entries: listed photos.
        own: folders of the data set. A temporary failure of a folder or archive in one of them stops the listing,
            because the next attempt may find the photos. The same holds for temporary failures of single photos, if
            nothing is found in one of the folders. Any other failure concerns only the photos in the folder or
            archive, or the single photo.
        store: URI of the store in which the indexes of archives are kept; None to keep none.

    Raises:
        DatasetError: no photo is found, and a folder or archive cannot be read; or the folder of the true masks cannot
            be listed.
        TransientError: a folder or archive in `own` cannot be read; or no photo is found, or none in one of `own`, and
            another place or photo cannot be looked up. The failure is temporary.
    """
    found = find_files((uri for entry in entries for uri in (*entry.photo_uris, *entry.truth_places)), store)
    exact, failures = found.files, found.failures
    _check(entries, exact, failures, own)
    wanted = {places: None for entry in entries for places in (entry.photo_uris, entry.truth_places)}
    missing = [places for places in wanted if not any(uri in exact for uri in places)]
    names = SimilarNames(own, {_folder(uri) for uri in failures})
    return PhotoFiles(exact, _similar(missing, exact, names, store), failures, names)


def _check(
    entries: Sequence[Entry], exact: Mapping[str, FileFacts], failures: Mapping[str, Failure], own: Sequence[str]
) -> None:
    none_found = not any(uri in exact for entry in entries for uri in entry.photo_uris)
    of_truths = {uri for entry in entries for uri in entry.truth_uris}
    of_photos = {uri: each for uri, each in failures.items() if isinstance(each, PhotoError) and each.kind.transient}
    silent = [place for place in own if of_photos and not any(is_below(uri, place) for uri in exact)]
    for uri, error in of_photos.items():
        if none_found or any(is_below(uri, place) for place in silent):
            raise TransientError(error.reason)
    for uri, failure in failures.items():
        if isinstance(failure, PhotoError):
            continue
        temporary = isinstance(failure, TransientError) and any(is_below(uri, place) for place in own)
        if none_found or temporary or uri in of_truths:
            raise failure


def _folder(uri: str) -> str:
    return uri[: uri.rindex("/") + 1]


def _similar(
    missing: Sequence[Places], exact: Mapping[str, FileFacts], names: SimilarNames, store: str | None
) -> dict[Places, FileFacts]:
    """Return the file of each photo or mask for which only one file can be meant."""
    candidates = {
        places: {uri for place in places for uri in names.find(place) if uri not in exact} for places in missing
    }
    claims = Counter(uri for uris in candidates.values() for uri in uris)
    meant = {places: min(uris) for places, uris in candidates.items() if len(uris) == 1 and claims[min(uris)] == 1}
    files = find_files(meant.values(), store).files
    return {places: files[uri] for places, uri in meant.items() if uri in files}
