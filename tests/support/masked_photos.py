"""Photos whose masks are computed from their pixels, and the artifacts of these masks, in any store."""

import io
from dataclasses import asdict, dataclass, field

import numpy as np
from PIL import Image

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.inputs.pngs import palette_png
from clipes.tasks.runs.record.contents import manifest_table
from clipes.tasks.stages.masks import MasksRow
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import MANIFEST_FILE, ArtifactKey
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.user_files import find_files, write_bytes
from clipes.tasks.training.data.training_set import TrainingSet
from clipes_core.vocabulary import ClassEntry, Vocabulary

VOCABULARY = Vocabulary(classes=(ClassEntry(name="cat"), ClassEntry(name="dog")))


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def noise(seed, size_hw=(24, 32)):
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), np.uint8)


def ids_of(image_rgb):
    """Return the mask of a photo: its red channel modulo three."""
    return image_rgb[..., 0] % 3


def confidence_of(image_rgb):
    """Return the confidence of a photo: its green channel."""
    return np.ascontiguousarray(image_rgb[..., 1])


@dataclass
class MaskedPhotos:
    """Photos of random pixels below a URI, and the artifacts of their masks."""

    uri: str
    shards: list[list[MasksRow]] = field(default_factory=lambda: [[], []])
    uris: dict[str, str] = field(default_factory=dict)

    def add(self, image_id, data=None, row=None, shard=0):
        """Write a photo and add its row; by default a photo of random pixels, and the mask computed from them."""
        image = noise(len(self.uris))
        self.uris[image_id] = f"{self.uri}/photos/{image_id}.png"
        write_bytes(self.uris[image_id], png(image) if data is None else data)
        self.shards[shard].append(row or mask_row(image_id, ids_of(image), confidence_of(image)))

    def photos(self):
        facts = find_files(list(self.uris.values()))
        return [
            Photo(image_id, uri, facts[uri].size_bytes, facts[uri].fingerprint, ())
            for image_id, uri in self.uris.items()
        ]

    def artifacts(self):
        """Write the artifacts, and return their URIs."""
        return [self.artifact(shard) for shard in range(len(self.shards))]

    def artifact(self, shard):
        store = ArtifactStore(f"{self.uri}/store")
        key = ArtifactKey("masks", "0" * 16, shard, "0" * 16)
        with store.writer(key, STAGES["masks"].schema, {}) as artifact:
            for row in self.shards[shard]:
                artifact.write(asdict(row))
        return store.artifact_uri(key)

    def training_set(self, exif="ignore"):
        return TrainingSet.of_manifest(self.manifest(self.photos()), self.artifacts(), VOCABULARY, exif)

    def manifest(self, photos):
        """Write a manifest of some photos, and return the files of its run."""
        files = RunFiles(f"{self.uri}/store", "masked")
        files.write_table(MANIFEST_FILE, manifest_table({0: tuple(photos)}))
        return files


def mask_row(image_id, ids, confidence):
    mask_png = palette_png(ids, np.array(VOCABULARY.palette, np.uint8))
    return MasksRow(image_id=image_id, class_ids=(1, 2), mask_png=mask_png, confidence_png=png(confidence))
