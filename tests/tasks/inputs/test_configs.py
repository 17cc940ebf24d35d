import re
from datetime import datetime

import fsspec
import pytest
from support.config_files import YAML, fault

from clipes.tasks.inputs.configs import load_config, resolve_config
from clipes_core.config.run import parse_config
from clipes_core.errors import ConfigError

pytestmark = pytest.mark.usefixtures("here")


def test_a_yaml_file_is_completed_with_the_defaults_of_the_paper(load):
    config = load()
    assert config.name == "mine"
    assert config.dataset.format == "list"
    assert config.crf == parse_config({"name": "x", "dataset": {"root": "/"}}).crf


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("cam.power=1", "cam", "power", 1),
        ("crf.pos_w=2.5", "crf", "pos_w", 2.5),
        ("cam.flip=true", "cam", "flip", True),
        ("cam.scales=[1.0, 0.5]", "cam", "scales", (1.0, 0.5)),
        ("cam.refine=none", "cam", "refine", "none"),
        ("execution.cpu_workers=auto", "execution", "cpu_workers", "auto"),
        ("dataset.root=null", "dataset", "root", None),
        ("dataset.root=a=b", "dataset", "root", "{here}/a=b"),
        ("prompts.template=a rendering of a weird {}.", "prompts", "template", "a rendering of a weird {}."),
        ('prompts.template="{} on a table"', "prompts", "template", "{} on a table"),
        ("prompts.template=['a {}.', 'the {}.']", "prompts", "template", ("a {}.", "the {}.")),
    ],
)
def test_an_override_is_a_dotted_key_and_a_value(load, here, override, section, key, value):
    expected = value.format(here=here) if isinstance(value, str) and "{here}" in value else value
    assert getattr(getattr(load(override), section), key) == expected


def test_later_overrides_of_a_key_win(load):
    config = load("cam.power=1", "cam.flip=true", "cam.power=3", "crf.bi_w=5")
    assert (config.cam.power, config.cam.flip, config.crf.bi_w) == (3, True, 5)


def test_an_override_replaces_one_value_of_the_file(load):
    config = load("cam.power=1", text=YAML + "cam: {power: 4, box_threshold: 0.7}\n")
    assert (config.cam.power, config.cam.box_threshold) == (1, 0.7)


@pytest.mark.parametrize("name", ["20240501", "1e5", "true", "null", "0x10", "2024-05-01"])
def test_a_given_value_is_never_parsed_as_yaml(load, name):
    assert load(given={"name": name}).name == name


@pytest.mark.parametrize("store", ["/a: b", "/a #b", "/[a]", "/a=b", "/{a}", "s3://bucket/a, b"])
def test_given_values_may_contain_yaml_syntax(load, store):
    assert load(given={"store": store}).store == store


def test_a_given_name_may_contain_the_date(load):
    before, name, after = datetime.now().date(), load(given={"name": "{date}"}).name, datetime.now().date()
    assert name in (str(before), str(after))


def test_given_values_override_only_their_own_keys(load):
    config = load("name=second", "store=/second", "cam.power=1", given={"name": "third"})
    assert (config.name, config.store, config.cam.power) == ("third", "/second", 1)


def test_references_resolve_to_the_given_value(load):
    text = "name: mine\nstore: /data/${name}\ndataset: {format: list, split: /a.txt}\n"
    assert load(text=text, given={"name": "007"}).store == "/data/007"


def test_an_invalid_given_value_has_its_own_error_line(load):
    assert fault(load, given={"name": "a b", "nam": "c"}).splitlines() == [
        "nam: unknown key; did you mean name?",
        "name: must consist of letters, digits, '.', '_', '-', {date} and {time}, must start with a letter or digit, "
        "and must not end with '.' (got 'a b')",
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("name=???", "name: must consist of letters"),
        ("${nope}=1", "'${nope}': unknown key"),
        ("name =x", "'name ': unknown key"),
        ("cam.power[0]=1", "'cam.power[0]': unknown key"),
        ("cam.power.x=1", "cam.power: Input should be a valid integer"),
        ("dataset=[1]", "dataset: must be a section of keys and values (got ['1'])"),
        ("cam=null", "cam: must be a section of keys and values (got None)"),
    ],
)
def test_an_override_that_does_not_fit_is_reported_with_its_key(load, override, message):
    assert fault(load, override).startswith(message)


@pytest.mark.parametrize("text", ["null: 1", "dataset: {null: 1}", "a: !!set {b}", "a: !!timestamp 2020-01-01"])
def test_a_key_or_value_of_an_unknown_kind_is_reported_with_the_file(load, text):
    assert fault(load, text=text).startswith("run.yaml: use text as keys, and text, numbers and lists as values (")


def test_a_list_replaces_a_list(load):
    config = load("cam.scales=[0.5]", text=YAML + "cam: {scales: [1.0, 2.0, 0.5]}\n")
    assert config.cam.scales == (0.5,)


def test_a_value_may_refer_to_another_value(load):
    assert load(text="name: mine\nstore: /data/${name}\ndataset: {format: list, split: /a.txt}\n").store == "/data/mine"


@pytest.mark.parametrize(
    "override",
    ["dataset.classes={a: 1}", "dataset.classes.0=x", "cam=[1]", "dataset=[1]", "execution.runner=[a]", ".x=1"],
)
def test_a_value_of_another_kind_than_the_setting_is_refused(load, override):
    text = YAML.replace("dataset:", "cam: {power: 2}\nexecution: {runner: {kind: local}}\ndataset:")
    assert override.partition("=")[0].split(".")[0] in fault(load, override, text=text)


def test_a_list_of_class_names_is_kept(load):
    assert load("dataset.classes=[dog, traffic light]").dataset.classes == ("dog", "traffic light")


def test_resolving_twice_changes_nothing(load):
    config = load("store=s", "dataset.root=r")
    assert resolve_config(config) == config


def test_date_and_time_are_filled_into_the_name(load):
    before = datetime.now().replace(microsecond=0)
    name = load("name=run-{date}-{time}").name
    after = datetime.now()

    assert re.fullmatch(r"run-\d{4}-\d{2}-\d{2}-\d{6}", name)
    assert before <= datetime.strptime(name, "run-%Y-%m-%d-%H%M%S") <= after


def test_a_config_may_be_read_from_any_uri():
    fsspec.filesystem("memory").pipe({"/configs/run.yaml": YAML.encode(), "/configs/photos.txt": b""})
    config = load_config("memory://configs/run.yaml")
    assert (config.name, config.dataset.split) == ("mine", "memory://configs/photos.txt")


def test_a_missing_file_is_an_error():
    for path in ("none.yaml", "memory://none.yaml"):
        with pytest.raises(ConfigError, match=rf"^{re.escape(path)}: there is no such config file"):
            load_config(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1\nb: 2\n", r"run\.yaml: while parsing a flow sequence .* line 1, column 4 .*"),
        ("name: a\nname: b\n", r"run\.yaml: the key 'name' occurs twice \(line 2\); keep one of them"),
        ("[" * 300_000, r"run\.yaml: its values are nested more than 100 times \(line 1\)"),
        ("a: &a [1, 2]\nb: &b [*a, *b]\n", r"run\.yaml: the alias \*b contains itself \(line 2\)"),
        ("- name\n- store\n", r"run\.yaml: expected keys and values, got a list"),
        ("5\n", r"run\.yaml: .*int"),
        ("store: ${nowhere}\n", "store: its interpolation names a key that the config does not set; .*"),
        ("", "name: must be set"),
        ("hello\n", "hello: unknown key\nname: must be set"),
    ],
)
def test_a_file_that_is_not_a_config_gets_one_error_line_per_fault(load, text, expected):
    assert re.fullmatch(expected, fault(load, text=text))


def test_a_file_that_is_not_text_is_an_error(here):
    (here / "run.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"^run\.yaml: not UTF-8 text"):
        load_config("run.yaml")


@pytest.mark.parametrize(
    ("path", "expected"), [("nowhere://a.yaml", "Protocol not known"), ("gs://bucket/a.yaml", "install gcsfs")]
)
def test_a_uri_that_no_package_can_open_is_an_error(path, expected):
    with pytest.raises(ConfigError, match=rf"^{path}: .*{expected}.*; use a path or a URI"):
        load_config(path)


@pytest.mark.parametrize("override", ["cam.power", "=1", "power"])
def test_an_override_without_key_or_value_is_an_error(load, override):
    assert fault(load, override) == f"--set {override}: write it as key=value, for example --set cam.power=1"


def test_the_error_for_an_override_that_is_not_yaml_shows_the_syntax(load):
    message = fault(load, "prompts.template={} on a table")
    assert message.startswith("--set prompts.template={} on a table: ")
    assert message.endswith("""; put the value in quotes: 'prompts.template="..."'""")


def test_each_unknown_key_and_bad_value_gets_an_error_line(load):
    message = fault(load, "cam.nope=1", "camera.power=1", "cam.power=99", "clip.device=tpu")
    assert message.splitlines() == [
        "cam.nope: unknown key",
        "cam.power: Input should be less than or equal to 16 (got '99')",
        "camera: unknown key",
        "clip.device: String should match pattern '^(auto|cpu|mps|cuda(:\\d{1,3})?)$' (got 'tpu')",
    ]


UNKNOWN_FORMAT = "dataset.format: Input should be 'voc', 'list', 'coco' or 'scenes' (got 'vok')"


def test_an_unknown_format_is_reported_together_with_other_bad_keys(load):
    assert fault(load, "dataset.format=vok") == UNKNOWN_FORMAT
    assert fault(load, "dataset.format=vok", "cam.nope=1", "extra=1").splitlines() == [
        "cam.nope: unknown key",
        UNKNOWN_FORMAT,
        "extra: unknown key",
    ]
    assert fault(load, text=YAML.replace("list", "5")) == "dataset.format: Input should be a valid string (got 5)"


@pytest.mark.parametrize("layout", ["voc", "coco"])
def test_a_format_with_a_layout_needs_its_root(load, layout):
    missing = f"dataset.root: must be set for format {layout}; give the data set's folder"
    assert fault(load, f"dataset.format={layout}") == missing
    with pytest.raises(ConfigError, match=f"^{missing}$"):
        resolve_config(parse_config({"name": "a", "dataset": {"format": layout}}))


def test_the_format_of_a_config_from_the_prefect_ui_is_checked():
    with pytest.raises(ConfigError, match=f"^{re.escape(UNKNOWN_FORMAT)}$"):
        resolve_config(parse_config({"name": "a", "dataset": {"format": "vok"}}))


def test_a_section_cannot_be_replaced_by_a_value(load):
    assert fault(load, "cam=1").startswith("cam: ")
