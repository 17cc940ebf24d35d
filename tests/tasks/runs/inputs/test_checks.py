import pytest
from support.prepared import prepare_run, prepared
from support.toy_crf_backends import NOT_INSTALLED

from clipes.tasks.runs.inputs.checks import check_request
from clipes.tasks.stages.registry import STAGES, run_names
from clipes.tasks.stages.segmenter import SEGMENTER
from clipes.tasks.stages.texts import Texts
from clipes_core.crf_backends import CRF_BACKENDS
from clipes_core.errors import ConfigError, DatasetError, WeightsError


def test_an_unknown_stage_is_refused_with_the_known_ones(six):
    message = rf"^--until mask: no such stage; the stages are: {', '.join(run_names())}$"
    with pytest.raises(ConfigError, match=message):
        prepared(six, until="mask")


@pytest.mark.parametrize(
    ("section", "error", "message"),
    [
        ({"dataset": {"classes": "voc11"}}, ConfigError, "no vocabulary 'voc11'"),
        ({"dataset": {"split": "/nowhere.csv"}}, DatasetError, r"no list file at /nowhere\.csv"),
        ({"clip": {"pretrained": "/nowhere.pt"}}, WeightsError, r"clip\.pretrained /nowhere\.pt: expected a file"),
    ],
)
def test_mistakes_in_the_config_are_reported_before_the_run_starts(six, section, error, message):
    config = six.config()
    for name, values in section.items():
        config = config.model_copy(update={name: getattr(config, name).model_copy(update=values)})
    with pytest.raises(error, match=message):
        prepare_run(config, "masks")


def test_a_missing_list_of_evaluation_photos_is_reported_first_if_it_is_needed(six):
    config = six.config(evaluation={"split": str(six.folder / "none.csv")}, train={"enabled": True})
    with pytest.raises(DatasetError, match=r"dataset.split: no list file at .*/none.csv"):
        check_request(config, "segmenter_scores")
    check_request(config, "masks")


@pytest.mark.parametrize("section", ["crf", "evaluation.crf"])
def test_a_crf_backend_without_its_package_is_refused_if_the_crf_is_enabled(six, monkeypatch, section):
    monkeypatch.setitem(CRF_BACKENDS, "toy", NOT_INSTALLED)

    def config(enabled):
        crf = {"enabled": enabled, "backend": "toy"}
        sections = {"train": {"enabled": True}, "evaluation": {"split": str(six.folder / "list.csv")}}
        sections.setdefault(section.partition(".")[0], {}).update(crf if section == "crf" else {"crf": crf})
        return six.config(**sections)

    check_request(config(enabled=False), "masks")
    check_request(config(enabled=True), "cams")
    with pytest.raises(ConfigError, match=rf"^{section}\.backend=toy: the package no_such_module is not installed"):
        check_request(config(enabled=True), "masks" if section == "crf" else "segmenter_scores")


class ReadsTheSegmenter(Texts):
    """A stage without a condition that reads the segmenter."""

    name, upstream = "reads_the_segmenter", (SEGMENTER,)


def test_a_stage_is_left_out_if_its_upstream_stage_is(six, monkeypatch):
    monkeypatch.setitem(STAGES, "reads_the_segmenter", ReadsTheSegmenter())
    assert prepared(six, until="reads_the_segmenter").stages[-1] == "mask_scores"  # although it is left out

    monkeypatch.setitem(STAGES, "texts_again", type("TextsAgain", (Texts,), {"name": "texts_again"})())
    for until in ("segmenter_scores", "reads_the_segmenter"):
        with pytest.raises(ConfigError, match=rf"^--until {until}: .+; set train\.enabled=true, or name an earlier"):
            prepared(six, until=until)
