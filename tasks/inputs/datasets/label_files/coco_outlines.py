"""The outlines in an annotation file of COCO, from which the true masks of photos are drawn."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
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
    """

    source: AnnotationSource
    class_ids: Mapping[str, int]
    images: Mapping[str, CocoImage] | None

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
        return cls(AnnotationSource(content.uri, content.fingerprint, known), class_ids, images if by_name else None)

    def image(self, listed: CocoImage, image_ids: Iterable[str]) -> CocoImage | None:
        """Return the image that has the outlines of a listed image; None if there is none."""
        if self.images is None:
            return listed
        return next((self.images[image_id] for image_id in image_ids if image_id in self.images), None)

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


def remark_on_outlines(content: AnnotationFile) -> Iterator[Remark]:
    """Yield a remark if some images of a file with outlines have no true mask, because an object has no outline."""
    if not content.annotations.any_outlined:
        return
    names = [name for image_id, (name, *_) in content.names.items() if content.annotations.lacks_outlines(image_id)]
    if names:
        yield Remark(WITHOUT_OUTLINE.format(count=len(names), first=names[0]))
