import pytest
from prefect.utilities.callables import parameter_schema
from pydantic import TypeAdapter, ValidationError

from clipes.tasks.inputs.datasets.dataset_format import DatasetFormat
from clipes.tasks.inputs.datasets.formats import FORMATS
from clipes.tasks.inputs.flow_parameter import ConfigParameter
from clipes_core.config.run import RunConfig


def form_schema():
    """Return the schema from which Prefect builds the form of a flow."""

    def flow(config: ConfigParameter) -> None:
        """Stand in for a flow."""

    return parameter_schema(flow).model_dump_for_openapi()


def formats():
    return form_schema()["definitions"]["DatasetConfig"]["properties"]["format"]["enum"]


def test_the_form_lists_every_format_including_new_ones(monkeypatch):
    assert formats() == ["voc", "list", "coco", "scenes"]
    monkeypatch.setitem(FORMATS, "folders", DatasetFormat(name="folders", read=lambda config, vocabulary: ()))
    assert formats() == ["voc", "list", "coco", "scenes", "folders"]


def test_the_schema_differs_from_that_of_a_config_only_in_formats():
    schema, plain = TypeAdapter(ConfigParameter).json_schema(), RunConfig.model_json_schema()
    formats = schema["$defs"]["DatasetConfig"]["properties"]["format"].pop("enum")
    assert (schema, formats) == (plain, list(FORMATS))


def test_the_values_of_the_form_become_a_config():
    adapter = TypeAdapter(ConfigParameter)
    assert adapter.validate_python({"name": "voc", "crf": {"iter_max": 3}}) == RunConfig(
        name="voc", crf={"iter_max": 3}
    )
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        adapter.validate_python({"name": "voc", "colour": 1})
