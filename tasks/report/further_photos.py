"""Files next to report.html that hold photos beyond the gallery. The page loads them when the reader asks for them.

Each file is a script that calls a function of the page with the HTML of some cards: a page that was opened from a disk
may run scripts, but may not read other files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipes.tasks.report.facts import RunFacts
from clipes.tasks.report.gallery.forms import Layers
from clipes.tasks.report.gallery.photo_gallery import Gallery
from clipes.tasks.report.templates import export_command, names_of, page_environment
from clipes.tasks.storage.layout import further_photos_file
from clipes.tasks.storage.run_files import RunFiles

PHOTOS_PER_FILE = 24


@dataclass(frozen=True)
class FurtherFiles:
    """The files with further photos.

    Attributes:
        files: paths of the files, relative to the run's folder, in the order in which the page loads them.
        photos: image_id -> file with this photo.
    """

    files: tuple[str, ...]
    photos: Mapping[str, str]


def further_files(facts: RunFacts) -> FurtherFiles | None:
    """Return the files that `write_further_photos` writes; None if there are no further photos."""
    photos = {
        image_id: further_photos_file(1 + number // PHOTOS_PER_FILE)
        for number, image_id in enumerate(facts.picks.further)
    }
    return FurtherFiles(tuple(dict.fromkeys(photos.values())), photos) if photos else None


def write_further_photos(files: RunFiles, facts: RunFacts) -> None:
    """Write the photos `facts.picks.further`, one file after the other; photos whose CAMs cannot be read are left out.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    further = further_files(facts)
    macros: Any = page_environment().get_template("cards.html.jinja").module
    names, export = names_of(facts.vocabulary), export_command(facts)
    for number, file in enumerate(further.files if further else ()):
        image_ids = facts.picks.further[number * PHOTOS_PER_FILE : (number + 1) * PHOTOS_PER_FILE]
        cards = Gallery(facts, image_ids, Layers(facts.pictures)).cards(image_ids)
        html = "".join(str(macros.photo_card(each, names, export)) for each in cards)
        files.write_bytes(file, f"clipesPhotos({json.dumps(html)});\n".encode())
