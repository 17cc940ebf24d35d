"""Small data sets in the format of COCO."""

import json

from clipes.tasks.inputs.datasets.listing import read_dataset
from clipes_core.config.dataset import DatasetConfig

CATEGORIES = {  # id in the annotation file -> name
    90: "cat",
    7: "dog",
    3: "couch",
    11: "giraffe",
}


def instances(images: dict[str, list[int]], categories=CATEGORIES) -> str:
    """Return an annotation file with the given photos and the category ids of their annotations."""
    numbers = {name: 1000 + place for place, name in enumerate(images)}
    annotations = [
        {
            "id": 5,
            "image_id": numbers[name],
            "category_id": category,
            "iscrowd": 1,
            "segmentation": {"counts": [1, 2], "size": [1, 3]},
            "bbox": [0.5, 1, 2, 3],
        }
        for name, ids in images.items()
        for category in ids
    ]
    listed = [{"id": number, "file_name": name, "license": 1} for name, number in numbers.items()]
    names = [{"id": number, "name": name, "supercategory": "thing"} for number, name in categories.items()]
    return json.dumps({"info": {}, "images": listed, "annotations": annotations, "categories": names})


def write_coco(folder, images, photos="train2014", split="train2014"):
    names = {f"{photos}/{name}": "photo" for name in images}
    folder.write({f"annotations/instances_{split}.json": instances(images), **names})


def read_coco(folder, vocabulary, split="train2014", **settings):
    return read_dataset(DatasetConfig(format="coco", root=folder.uri, split=split, **settings), vocabulary)


def reasons(listing):
    return [(reject.image_id, reject.kind, reject.reason) for reject in listing.rejects]
