"""The settings of the data set: its photos, their labels, and how clipes reads the photos."""

from typing import Literal

from pydantic import Field

from clipes_core.config.section import Section


class DatasetConfig(Section):
    """The photos, their labels, and how clipes reads the photos."""

    format: str = Field(
        "voc",
        description="Format of the data set: voc, coco, list (a file that lists photos and their labels) or scenes "
        "(photos that clipes generates).",
    )
    root: str | None = Field(
        None,
        description="Folder of the data set: a path or any fsspec URI. Formats voc and coco: the folder is required. "
        "Format scenes: clipes writes the generated photos to this folder; null means a folder in the store. Format "
        "list: relative paths start from this folder; null means the folder of the list file.",
    )
    split: str = Field(
        "train_aug",
        description="The photos to use. Format voc: the name of a split, or a .txt list of photos. Format coco: the "
        "name of a split, a .txt list or a .json annotation file. Format list: a .txt, .csv or .parquet list. For a "
        "file, give its path or URI. The format scenes ignores this key.",
    )
    classes: str | tuple[str, ...] = Field(
        "voc12",
        description="Vocabulary: voc12, coco14, scenes, the path or URI of a YAML file, or a list of class names. A "
        "vocabulary defines the classes and their words. With a list, CLIP reads the names, and the background words "
        "are those of voc12 that are no class names.",
    )
    sample: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="Number of photos to use: those whose ids have the lowest hashes. A larger sample contains all "
        "photos of a smaller one. The photos of the section `evaluation` are sampled, too. null: all photos.",
    )
    truth: str | None = Field(
        None,
        description="Folder of the true masks. A mask is a PNG file that has the name of its photo, and whose pixels "
        "are class ids. Formats voc and scenes: null means the folder SegmentationClass of the data set. Format coco: "
        "clipes draws the true masks from the outlines in a .json annotation file if this key names one; null means "
        "the file of the split.",
    )
    reach: tuple[str, ...] | None = Field(
        None,
        description="Format list: the places that a line of the list may name, in addition to the data set's own "
        "folders (root, truth and the folder of the list). A place is a folder (a path or URI), a server or bucket "
        "(s3://bucket) or a protocol (s3://). null: all local files if the list is a local file; the servers and "
        "buckets of the list and of root.",
    )
    exif: Literal["ignore", "apply"] = Field(
        "ignore",
        description="EXIF orientation of photos. apply: clipes turns each photo as its EXIF tag says; ignore: clipes "
        "turns no photo. Use ignore for VOC and COCO, because the true masks of VOC and COCO fit the unturned photos.",
    )
    empty: Literal["background", "reject", "leave_out"] = Field(
        "background",
        description="How clipes treats photos without labels. background: the masks of these photos are entirely "
        "background; reject: these photos get no masks, and count as failed photos (`execution.max_failure_rate`); "
        "leave_out: these photos are no part of the data set.",
    )
    max_side: int = Field(
        1024,
        ge=32,
        le=10_000,
        description="Largest permitted side of a photo [px]. clipes scales larger photos down to this size before it "
        "computes CAMs and runs the CRF.",
    )
    jpeg_scale: Literal["full", "reduced"] = Field(
        "full",
        description="How clipes decodes a JPEG that is larger than max_side. full: at its full size, and then scales "
        "it down; reduced: at a half, a quarter or an eighth of its size, and then scales it down. reduced needs less "
        "time and memory, but changes the pixels slightly.",
    )
    seed: int = Field(
        0, ge=0, lt=2**63, description="Seed of the generated scenes; a different seed gives different scenes."
    )
    count: int = Field(200, ge=1, le=100_000, description="Number of generated scenes.")
