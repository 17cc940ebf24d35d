from typing import Any

import pytest
from pydantic import ValidationError

from clipes_core.config.execution import RunnerConfig
from clipes_core.config.pseudo_masks import CamConfig, ClipConfig, ConfidenceConfig, CrfConfig, PromptsConfig
from clipes_core.config.run import RunConfig, parse_config
from clipes_core.config.section import Section
from clipes_core.errors import ConfigError

SMALLEST = {"name": "voc12", "dataset": {"root": "/data/VOC2012"}}


def parsed(**sections: Any) -> RunConfig:
    return parse_config({**SMALLEST, **sections})


def complaint(**sections: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(**sections)
    return str(caught.value)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (ClipConfig, {"model": "ViT-B-16-quickgelu", "pretrained": "openai", "pooling": "patch_mean"}),
        (PromptsConfig, {"template": "a clean origami {}.", "fusion": "sentence", "background": True}),
        (
            CamConfig,
            {
                "softmax": True,
                "refine": "caa",
                "box_threshold": 0.4,
                "attention_blocks": 8,
                "sinkhorn_rounds": 3,
                "power": 2,
                "scales": (1.0,),
                "flip": False,
            },
        ),
        (
            CrfConfig,
            {
                "enabled": True,
                "iter_max": 10,
                "pos_w": 3,
                "pos_xy_std": 1,
                "bi_w": 4,
                "bi_xy_std": 67,
                "bi_rgb_std": 3,
                "image": "rgb",
                "background_power": 1,
            },
        ),
        (ConfidenceConfig, {"source": "crf"}),
    ],
)
def test_defaults_are_the_values_in_the_paper(section, values):
    assert {name: getattr(section(), name) for name in values} == values


def test_the_smallest_config_has_every_default():
    config = parsed()
    assert config.name == "voc12"
    assert config.dataset.root == "/data/VOC2012"
    assert config.dataset.max_side == 1024
    assert config.dataset.exif == "ignore"
    assert config.crf == CrfConfig()
    assert config.execution.max_failure_rate == 0.01


def test_strings_from_the_command_line_are_converted():
    config = parsed(crf={"iter_max": "5", "enabled": "false"}, execution={"gpu_workers": "2"})
    assert config.crf.iter_max == 5
    assert config.crf.enabled is False
    assert config.execution.gpu_workers == 2


def test_a_config_survives_a_round_trip_through_plain_values():
    config = parsed(cam={"scales": [1.0, 0.5]}, prompts={"template": ["a {}.", "the {}."]})
    assert parse_config(config.model_dump(mode="json")) == config


def sections_of(model: type[Section]) -> list[type[Section]]:
    inner = [field.annotation for field in model.model_fields.values()]
    nested = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, Section)]
    return [model, *(section for kind in nested for section in sections_of(kind))]


def test_every_key_is_described():
    for section in sections_of(RunConfig)[1:]:
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"


@pytest.mark.parametrize("section", [each for each in sections_of(RunConfig) if each is not RunnerConfig])
def test_every_section_rejects_unknown_keys(section):
    """Check every section except execution.runner; tests/tasks/execution/test_runner.py covers that one."""
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        section.model_validate({"no_such_key": 1})


@pytest.mark.parametrize("key", ["colour", "strict", "interval", "int"])
def test_an_unknown_key_is_named(key):
    assert complaint(**{key: 1}) == f"{key}: unknown key"
    assert complaint(crf={key: 1}) == f"crf.{key}: unknown key"


def test_each_bad_key_gets_its_own_error_line():
    lines = complaint(crf={"iter_max": 0, "image": "bgr"}, extra=1).splitlines()
    assert lines == [
        "crf.image: Input should be 'rgb' or 'reference' (got 'bgr')",
        "crf.iter_max: Input should be greater than or equal to 1 (got 0)",
        "extra: unknown key",
    ]


def test_a_missing_name_is_reported():
    with pytest.raises(ConfigError, match=r"^name: must be set$"):
        parse_config({"dataset": {"root": "/data"}})


def test_a_section_that_is_not_a_mapping_is_named():
    assert complaint(crf=None).startswith("crf: must be a section of keys and values (got ")
    with pytest.raises(ConfigError, match=r"^must be a section of keys and values$"):
        parse_config([])


@pytest.mark.parametrize("template", ["origami", "{} and {}", ["a {}.", "origami"]])
def test_a_template_without_exactly_one_placeholder_is_refused(template):
    line = complaint(prompts={"template": template})
    assert line.startswith("prompts.template: ")
    assert "must contain {} exactly once, where the class words go" in line


def test_an_empty_list_of_templates_is_refused():
    assert complaint(prompts={"template": []}) == "prompts.template: needs at least one template (got [])"


def test_a_single_template_becomes_a_tuple():
    assert PromptsConfig(template="a {}.").templates == ("a {}.",)
    assert PromptsConfig(template=("a {}.", "the {}.")).templates == ("a {}.", "the {}.")


@pytest.mark.parametrize("workers", ["gpu_workers", "cpu_workers"])
def test_workers_must_be_auto_or_positive(workers):
    assert getattr(parsed(execution={workers: "auto"}).execution, workers) == "auto"
    line = complaint(execution={workers: 0})
    assert line.splitlines() == [
        f"execution.{workers}: Input should be 'auto' (got 0)",
        f"execution.{workers}: Input should be greater than or equal to 1 (got 0)",
    ]


@pytest.mark.parametrize(
    "name", ["-x", ".hidden", "..", "../x", "a/b", "a\\b", "a b", "a ", "a.", "a\n", "a\0", "ä", "a:b", "{}."]
)
def test_a_run_name_that_is_not_the_name_of_a_folder_is_refused(name):
    assert complaint(name=name).startswith("name: must ")


def test_an_empty_or_long_run_name_is_refused():
    assert complaint(name="").startswith("name: String should have at least 1 character")
    assert complaint(name="a" * 201).startswith("name: String should have at most 200 characters")


@pytest.mark.parametrize("name", ["voc12", "2012", "{date}-voc", "voc.v2_{time}"])
def test_a_run_name_may_contain_date_and_time(name):
    assert parsed(name=name).name == name


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:3"])
def test_devices_are_named_as_in_torch(device):
    assert parsed(clip={"device": device}).clip.device == device


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("dataset", "max_side", 31),
        ("clip", "device", "gpu"),
        ("cam", "box_threshold", 1.0),
        ("cam", "box_threshold", -0.1),
        ("cam", "attention_blocks", 0),
        ("cam", "sinkhorn_rounds", -1),
        ("cam", "power", 17),
        ("cam", "scales", []),
        ("crf", "iter_max", 0),
        ("crf", "iter_max", 2.5),
        ("crf", "pos_w", -1),
        ("crf", "pos_w", float("inf")),
        ("crf", "bi_w", float("nan")),
        ("crf", "pos_xy_std", 0.09),
        ("crf", "bi_xy_std", 0),
        ("crf", "bi_rgb_std", 1e-6),
        ("crf", "background_power", 0),
        ("crf", "background_power", 65),
        ("confidence", "source", "posterior"),
        ("execution", "shards", 0),
        ("execution", "shards", 100_001),
        ("execution", "shards", "many"),
        ("execution", "max_failure_rate", 1.1),
        ("execution", "tolerated_failures", -1),
        ("execution", "retries", -1),
        ("execution", "retries", 51),
        ("execution", "shard_timeout_s", 0),
    ],
)
def test_the_error_for_an_out_of_bounds_value_names_its_key(section, key, value):
    line = complaint(**{section: {**SMALLEST.get(section, {}), key: value}})
    assert line.startswith(f"{section}.{key}: ")
    assert line.endswith(f"(got {value!r})")


def test_retries_may_be_as_high_as_the_limit_of_prefect():
    assert parsed(execution={"retries": 50}).execution.retries == 50


def test_the_error_for_a_bad_scale_gives_its_index():
    assert complaint(cam={"scales": [1, 5]}).startswith("cam.scales.1: Input should be less than or equal to 4")


def test_auto_is_a_keyword_only_outside_a_list_of_templates():
    assert PromptsConfig(template="auto").templates == ()
    assert complaint(prompts={"template": ["auto"]}).startswith("prompts.template: 'auto' must contain {} exactly once")


@pytest.mark.parametrize(
    ("section", "key", "uri"),
    [
        ("dataset", "root", "ftp://me:hunter2@host/photos"),
        ("dataset", "split", "https://host/list.csv?version=1&x-amz-Signature=hunter2"),
        ("dataset", "truth", "simplecache::sftp://me:hunter2@host/masks"),
        ("clip", "pretrained", "https://hunter2@host/clip.pt"),
        ("train", "init", "https://host/a.pt#token=hunter2"),
        ("evaluation", "split", "s3://key:hun/ter2@bucket/list.csv"),
    ],
)
def test_a_uri_that_may_contain_a_password_is_refused_and_not_repeated(section, key, uri):
    told = complaint(**{section: {"root": "/data", key: uri} if section == "dataset" else {key: uri}})
    assert told.startswith(f"{section}.{key}: the URI may contain a password or token (")
    assert "hun" not in told


def test_a_password_in_a_value_of_the_wrong_type_is_not_repeated():
    for bad in ({"store": ["ftp://me:hunter2@host/a"]}, {"cam": {"power": "ftp://me:hunter2@host/a"}}):
        with pytest.raises(ConfigError) as caught:
            parsed(**bad)
        assert "ftp://***" in str(caught.value)
        assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"
    assert "hunter2" not in complaint(**{"https://me:hunter2@host/": 1})


def test_zero_loader_workers_are_permitted():
    assert parsed(execution={"loader_workers": 0}).execution.loader_workers == 0
    assert "Input should be greater than or equal to 0" in complaint(execution={"loader_workers": -1})


def test_true_is_not_the_number_one():
    assert complaint(cam={"power": True}) == "cam.power: must not be true or false (got True)"
    assert complaint(cam={"scales": [True]}) == "cam.scales: must not be true or false (got [True])"
    assert complaint(train={"mu": False}).startswith("train.mu: must not be true or false")


@pytest.mark.parametrize("text", ["a\0b", "a\nb", "\x1b[31m", "\x7f"])
def test_control_characters_are_refused(text):
    assert complaint(dataset={"root": text}).startswith("dataset.root: must not contain control characters (got ")
