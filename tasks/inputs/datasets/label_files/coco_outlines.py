"""The outlines in an annotation file of COCO, from which the true masks of photos are drawn."""

import hashlib
import posixpath
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from clipes.tasks.inputs.datasets.entries import Remark, without_extension
from clipes.tasks.inputs.datasets.label_files.coco_json import AnnotationFile, CocoImage
from clipes.tasks.inputs.datasets.label_files.labels import LabelReader
from clipes.tasks.inputs.photos import Annotations, AnnotationSource
from clipes_core.errors import PhotoError
from clipes_core.vocabulary import Vocabulary

DRAWING = 1  # increment it if `clipes_core.encodings.coco_objects.draw_objects` draws another mask
WITHOUT_OUTLINE = (
    "{count} images have objects without an outline (`segmentation`), so they have no true mask and are not scored "
    "(the first is {first})"
)


@dataclass(frozen=True)
class CocoOutlines:
    """The annotation file from whose outlines true masks are drawn.

    Attributes:
        source: the file.
        class_ids: name of each category that is in the vocabulary -> its data set id 1..K.
        images: name without its extension -> image; None if the data set lists the images of this very file.
        names: last part of a name in `images` -> the names that end with it.
    """

    source: AnnotationSource
    class_ids: Mapping[str, int]
    images: Mapping[str, CocoImage] | None
    names: Mapping[str, Sequence[str]]

    @classmethod
    def of_file(cls, content: AnnotationFile, vocabulary: Vocabulary, by_name: bool) -> "CocoOutlines":
        """Return the outlines of a file; `by_name` tells whether another file lists the images."""
        labels, class_ids = LabelReader(vocabulary.known_names), dict[str, int]()
        for name in content.categories:
            with suppress(PhotoError):
                (class_ids[name],) = labels.read([name]).class_ids
        known = tuple((key, class_ids[name]) for key, name in content.category_names.items() if name in class_ids)
        images: dict[str, CocoImage] = {}
        for number in range(len(content.images) if by_name else 0):
            with suppress(PhotoError):
                image = content.image(number)
                images[without_extension(image.file_name)] = image
        names = defaultdict[str, list[str]](list)
        for name in images:
            names[posixpath.basename(name)].append(name)
        source = AnnotationSource(content.uri, content.fingerprint, known)
        return cls(source, class_ids, images if by_name else None, names)

    def image(self, listed: CocoImage, image_ids: Sequence[str]) -> CocoImage | None:
        """Return the image that has the outlines of a listed image; None if there is none, or if it is uncertain.

        The list and the file may name a photo from different folders, such as `val2014/1.jpg` and `1.jpg`. Such an
        image counts if it is the only one in the file whose name fits.

        Args:
            listed: the listed image.
            image_ids: its possible ids, the preferred one first.
        """
        if self.images is None:
            return listed
        exact = [image_id for image_id in image_ids if image_id in self.images]
        name = next(iter(exact or filter(None, map(self._name_in_other_folder, image_ids))), None)
        return None if name is None else self.images[name]

    def _name_in_other_folder(self, image_id: str) -> str | None:
        names = self.names.get(posixpath.basename(image_id), ())
        found = [name for name in names if _ends_with(image_id, name) or _ends_with(name, image_id)]
        return found[0] if len(found) == 1 else None

    def annotations(self, image: CocoImage) -> Annotations | None:
        """Return the annotations from which a true mask is drawn; None if an outline or the size is missing."""
        if image.outlines is None or image.stated_size is None:
            return None
        drawing = [
            DRAWING,
            image.stated_size,
            image.outlines.digest,
            [self.class_ids.get(name) for name in image.labels],
        ]
        fingerprint = f"drawn:{hashlib.sha256(repr(drawing).encode()).hexdigest()[:32]}"
        return Annotations(self.source, image.outlines.spans, fingerprint)


def _ends_with(path: str, end: str) -> bool:
    return path.endswith(f"/{end}")


def remark_on_outlines(content: AnnotationFile) -> Iterator[Remark]:
    """Yield a remark if some images of a file with outlines have no true mask, because an object has no outline."""
    if not content.annotations.any_outlined:
        return
    names = [name for image_id, (name, *_) in content.names.items() if content.annotations.lacks_outlines(image_id)]
    if names:
        yield Remark(WITHOUT_OUTLINE.format(count=len(names), first=names[0]))
