"""Photos without labels."""

from clipes.tasks.commands.init.doubts import Doubts
from clipes.tasks.commands.init.layouts.layout import Found, LabelledPhoto, Layout
from clipes.tasks.commands.init.photo_folder import PhotoFolder


def recognise_photos(folder: PhotoFolder) -> Found:
    """Return all photos, without labels."""
    doubts = Doubts()
    doubts.add("no labels were found: write them into the list, and the names of the classes into the vocabulary")
    return Found("plain", "photos without labels", tuple(map(LabelledPhoto, folder.photos)), doubts=doubts)


LAYOUT = Layout("plain", "photos without labels", recognise_photos)
