import pytest

from clipes.tasks.ablation.settings import flat_settings
from clipes.tasks.commands.reproduce.paper_config import MASKS_SPLIT, check_data_name, paper_runs
from clipes.tasks.inputs.paper.published import published_number
from clipes_core.errors import ConfigError


@pytest.mark.parametrize("data", MASKS_SPLIT)
@pytest.mark.parametrize("part", ["pseudo-masks", "segmenters"])
def test_the_numbers_of_a_grid_belong_to_its_photos_and_scores(data, part, tmp_path):
    runs = paper_runs(data, part, (), {"dataset": {"root": str(tmp_path)}})
    config = runs.config
    split = config.evaluation.split if part == "segmenters" else config.dataset.split
    assert runs.grid.published
    for label, ids in runs.grid.published.items():
        for figure, number_id in ids.items():
            number = published_number(number_id, label)
            assert (number.data, number.split, number.figure) == (data, split, figure)
            (variant,) = (each for each in runs.grid.all_variants if each.label == label)
            values = flat_settings(config.model_dump(mode="json")) | variant.settings
            assert number.settings is not None
            assert {key: values[key] for key in number.settings} == number.settings
            assert values["crf.enabled"] or figure.startswith("initial_cam")


def test_the_settings_of_the_user_replace_those_of_the_paper(tmp_path):
    given = {"dataset": {"root": str(tmp_path)}, "store": str(tmp_path / "store")}
    runs = paper_runs("voc12", "pseudo-masks", ("dataset.split=few", "cam.power=1"), given)
    assert (runs.config.dataset.split, runs.config.cam.power, runs.config.crf.image) == ("few", 1, "reference")
    assert (runs.paper.dataset.split, runs.paper.cam.power) == ("train", 2)
    assert not runs.config.train.enabled
    assert runs.config.store == str(tmp_path / "store")
    segmenter = paper_runs("voc12", "segmenters", (), given).config
    assert (segmenter.dataset.split, segmenter.evaluation.split, segmenter.train.enabled) == ("train_aug", "val", True)


def test_a_setting_that_the_runs_vary_is_refused(tmp_path):
    given = {"dataset": {"root": str(tmp_path)}}
    with pytest.raises(ConfigError, match=r"^--set cam\.refine: the grid \S+ itself varies cam\.refine; leave out"):
        paper_runs("voc12", "pseudo-masks", ("cam.refine=none",), given)
    with pytest.raises(ConfigError, match=r"^--set train\.loss: "):
        paper_runs("voc12", "segmenters", ("train.loss=ce",), given)


def test_an_unknown_data_set_is_refused():
    with pytest.raises(ConfigError, match=r"no data set 'voc': the paper's data sets are voc12 and coco14; name one"):
        check_data_name("voc")
