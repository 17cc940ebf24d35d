"""Find the photos that the lines of a label file name."""

from collections.abc import Iterable, Mapping

from clipes.tasks.commands.init.doubts import Doubts
from clipes.tasks.commands.init.photo_folder import PhotoFolder
from clipes_core.config.uri import is_uri, without_secrets


def match_photos(
    folder: PhotoFolder, places: Mapping[str, str], base: str, source: str, doubts: Doubts
) -> dict[str, str]:
    """Return the photo of each text in a label file that names one.

    A text that is not the path of a photo means the only photo with a similar path that no other text names.

    Args:
        folder: folder of the photos.
        places: text -> where it stands, such as "line 7".
        base: folder of the label file, relative to the folder of the photos.
        source: name of the label file, for doubts.
        doubts: gets the texts that name no photo or several, and the photos that no text names.
    """
    found = {text: photo for text in places if (photo := folder.find_exactly(text, base)) is not None}
    taken = set(found.values())
    for text, where in places.items():
        if text in found:
            continue
        similar = () if is_uri(text) else tuple(photo for photo in folder.find_similar(text) if photo not in taken)
        case = f"{without_secrets(text)} in {where}"
        if is_uri(text):
            doubts.add(f"{source} names photos on servers, which are left out", case)
        elif len(similar) > 1:
            doubts.add(f"{source} names files that the folder has several times, which are left out", case)
        elif not similar:
            doubts.add(f"{source} names files that do not exist, which are left out", case)
        else:
            found[text] = similar[0]
            doubts.add(f"{source} spells the paths of photos differently", f"{text} for {similar[0]}")
    _doubt_unnamed(folder, set(found.values()), source, doubts)
    return found


def _doubt_unnamed(folder: PhotoFolder, named: Iterable[str], source: str, doubts: Doubts) -> None:
    unnamed = sorted(folder.photo_set - set(named))
    if unnamed:
        doubts.add(f"{source} does not name these photos, which are left out", *unnamed)
