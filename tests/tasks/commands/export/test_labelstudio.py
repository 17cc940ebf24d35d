import json
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
from label_studio_sdk.converter.brush import decode_rle


def test_label_studio_s_converter_reads_the_strokes(odd_run, tmp_path):
    odd_run.export("labelstudio", tmp_path)

    tasks = {task["data"]["image_id"]: task for task in json.loads((tmp_path / "tasks.json").read_text())}
    assert tasks.keys() == odd_run.masks.keys()
    config = ElementTree.parse(tmp_path / "labeling_config.xml").getroot()
    labels = [label.get("value") for label in config.iter("Label")]
    assert labels == [*odd_run.names, "ignore_"]
    for image_id, expected in odd_run.masks.items():
        ids = np.zeros(expected.shape, int)
        (prediction,) = tasks[image_id]["predictions"]
        for stroke in prediction["result"]:
            assert stroke["from_name"] == config.find("BrushLabels").get("name")
            assert stroke["to_name"] == config.find("Image").get("name")
            size_hw = stroke["original_height"], stroke["original_width"]
            pixels = decode_rle(stroke["value"]["rle"]).reshape(*size_hw, 4)[..., 3] == 255
            (name,) = stroke["value"]["brushlabels"]
            ids[pixels] += labels.index(name) + 1 if name != "ignore_" else 255
        assert (ids == expected).all(), image_id


def test_photos_are_referred_to_by_path_or_copied(odd_run, tmp_path):
    for photos, root in ((False, "/"), (True, tmp_path / "out")):
        odd_run.export("labelstudio", tmp_path / "out", photos=photos)
        for task in json.loads((tmp_path / "out" / "tasks.json").read_text()):
            prefix, path = task["data"]["image"].split("?d=")
            assert prefix == "/data/local-files/"
            copied = (type(tmp_path)(root) / unquote(path)).read_bytes()
            with open(odd_run.photos[task["data"]["image_id"]].uri, "rb") as original:  # noqa: PTH123
                assert copied == original.read()
