import json
import tracemalloc

import numpy as np

from clipes.tasks.inputs.datasets.label_files.coco_json import read_annotation_file

MOST_BYTES_PER_IMAGE = 3000  # of 15,000 in the file
MOST_BYTES = 40 << 20  # for the part of the file that is being read


def write_annotations(path, images: int, points: int = 100) -> int:
    """Write an annotation file with ten outlines per image, and return its size [bytes]."""
    outline = [[100.25 + place / 7 for place in range(2 * points)]]
    annotations = (
        {"id": number, "image_id": number % images, "category_id": 1, "segmentation": outline, "iscrowd": 0}
        for number in range(10 * images)
    )
    listed = [{"id": number, "file_name": f"{number:012d}.jpg", "width": 9, "height": 9} for number in range(images)]
    with path.open("w") as file:
        file.write(f'{{"images": {json.dumps(listed)}, "annotations": [')
        file.writelines(f"{', ' * (number > 0)}{json.dumps(each)}" for number, each in enumerate(annotations))
        file.write('], "categories": [{"id": 1, "name": "dog"}]}')
    return path.stat().st_size


def test_memory_is_needed_for_images_but_not_for_outlines(tmp_path):
    images = 1500
    size = write_annotations(tmp_path / "large.json", images)
    assert size > 2 * (MOST_BYTES + MOST_BYTES_PER_IMAGE * images) / 3
    tracemalloc.start()
    try:
        content = read_annotation_file(str(tmp_path / "large.json"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(content.images) == images
    assert len(content.image(7).outlines.spans) == 10 * 16
    assert peak < MOST_BYTES + MOST_BYTES_PER_IMAGE * images


def test_the_spans_of_an_image_are_the_bytes_of_its_annotations(tmp_path):
    path = tmp_path / "own.json"
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4]], "note": "é"},
        {"id": 2, "image_id": 2, "category_id": 1, "segmentation": {"size": [9, 9], "counts": "Q2"}},
        {"id": 3, "image_id": 1, "category_id": 1, "segmentation": {"size": [9, 9], "counts": [81]}},
    ]
    document = {
        "images": [{"id": 1, "file_name": "ü.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": annotations,
    }
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1), "utf-8-sig")
    found = read_annotation_file(str(path)).image(0)
    data, spans = path.read_bytes(), np.frombuffer(found.outlines.spans, "<i8").reshape(-1, 2)
    assert [json.loads(data[start : start + size]) for start, size in spans] == [annotations[0], annotations[2]]
