import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from support.exported_runs import write_masks_run

from clipes.tasks.commands.export import hf
from clipes_core.errors import UsageError


def load(folder, cache):
    return datasets.load_dataset(str(folder), cache_dir=str(cache), split="train")


@pytest.mark.parametrize("photos", [False, True])
def test_datasets_loads_the_folder(odd_run, tmp_path, photos):
    odd_run.export("hf", tmp_path / "out", confidence=True, photos=photos)

    read = load(tmp_path / "out", tmp_path / "cache")
    assert isinstance(read.features["mask"], datasets.Image)
    assert read.features["classes"].feature.names == ["background", *odd_run.names]
    assert sorted(read["image_id"]) == sorted(odd_run.masks)
    for row in read:
        expected = odd_run.masks[row["image_id"]]
        assert row["mask"].mode == "L"
        assert (np.array(row["mask"]) == expected).all()
        assert (np.array(row["confidence"]) == odd_run.confidence[row["image_id"]]).all()
        assert row["image"].size == expected.shape[::-1]
        assert row["classes"] == sorted(set(np.unique(expected).tolist()) - {0, 255})
    assert not (tmp_path / "out" / "images").exists()


def test_many_photos_are_divided_into_files_and_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(hf, "GROUP_BYTES", 300)
    monkeypatch.setattr(hf, "FILE_BYTES", 600)
    masks = {f"{number:02d}": np.full((5, 6), number % 4, np.uint8) for number in range(25)}
    run = write_masks_run(tmp_path, masks)
    run.export("hf", tmp_path / "out")
    files = sorted((tmp_path / "out" / "data").iterdir())
    assert len(files) > 2
    assert pq.ParquetFile(files[0]).num_row_groups > 1
    assert sorted(load(tmp_path / "out", tmp_path / "cache")["image_id"]) == sorted(masks)

    monkeypatch.setattr(hf, "FILE_BYTES", 1 << 20)
    run.export("hf", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "data").iterdir()] == ["train-00000.parquet"]
    assert sorted(load(tmp_path / "out", tmp_path / "second cache")["image_id"]) == sorted(masks)


def test_a_later_file_of_the_user_is_refused_before_anything_is_written(odd_run, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-00003.parquet").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"nothing was written: .*train-00003\.parquet exists and has no valid mark"):
        odd_run.export("hf", tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "train-00003.parquet"]


def test_files_are_also_read_one_by_one(odd_run, tmp_path):
    odd_run.export("hf", tmp_path / "out")
    files = [str(path) for path in (tmp_path / "out" / "data").iterdir()]
    read = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"), split="train")
    assert isinstance(read.features["image"], datasets.Image)
    assert len(read) == len(odd_run.masks)
