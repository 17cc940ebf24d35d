from clipes.tasks.inputs.config_text.reference import reference_page
from clipes_core.config.run import RunConfig
from clipes_core.config.section import Section


def rows(section=RunConfig):
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from rows(field.annotation)
        else:
            yield name, field


def test_the_page_in_the_docs_is_that_of_the_models(configs):
    page = (configs.parent / "docs" / "config.md").read_text()
    assert page == reference_page(), "run clipes config --reference > docs/config.md"


def test_every_setting_has_a_row_with_a_description():
    lines = reference_page().splitlines()
    for name, field in rows():
        assert field.description, name
        described = field.description.replace("|", "\\|")
        assert any(
            line.startswith("| `") and f"{name}` | " in line and line.endswith(f"{described} |") for line in lines
        ), name


def test_a_row_states_the_values_and_the_default():
    lines = reference_page().splitlines()
    starts = [
        "| `max_side` | whole number from 32 to 10,000 | `1024` | ",
        "| `format` | `voc`, `list`, `coco`, `scenes`",
        "| `mu` | number from 0 to 1, or `labels` | `0.95` | ",
        "| `seed` | whole number from 0 below 2^63 | `0` | ",
        "| `scales` | list of number above 0 to 4 | `[1.0]` | ",
        "| `crf.enabled` | true or false | `false` | ",
        "| `init` | text, or null | `null` | ",
        "| `name` | text | must be set | ",
        "| `colour` | 3 numbers, or null | `null` | ",
    ]
    for start in starts:
        assert any(line.startswith(start) for line in lines), start
