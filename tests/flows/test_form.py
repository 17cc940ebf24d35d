"""The schema from which the Prefect UI draws its form "Custom run", and the values that the form sends back."""

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import is_valid_schema, validate

from clipes.flows.pipeline import pipeline
from clipes.flows.rankings.templates import prompt_selection
from clipes.tasks.inputs.configs import load_config
from clipes.tasks.stages.registry import run_names

WITHOUT_DEFAULT = {"config.name", "candidates"}


def leaves(schema, where=""):
    """Yield the dotted path and the schema of every input of a form."""
    for key, found in schema["properties"].items():
        path = f"{where}.{key}" if where else key
        section = schema["definitions"][found["$ref"].rpartition("/")[2]] if "$ref" in found else None
        if section is None:
            yield path, found
        else:
            yield from leaves({**section, "definitions": schema["definitions"]}, path)


@pytest.fixture(params=[pipeline, prompt_selection], ids=lambda flow: flow.name)
def schema(request):
    return parameter_schema(request.param).model_dump_for_openapi()


def test_every_input_has_a_description_and_most_have_a_default(schema):
    inputs = dict(leaves(schema))
    assert "config.crf.bi_rgb_std" in inputs
    assert [path for path, found in inputs.items() if not found.get("description")] == []
    assert {path for path, found in inputs.items() if "default" not in found} <= WITHOUT_DEFAULT


def test_inputs_and_sections_have_their_key_as_title(schema):
    for path, found in leaves(schema):
        assert found["title"] == path.rpartition(".")[2]
    for key, found in schema["definitions"]["RunConfig"]["properties"].items():
        section = schema["definitions"][found["$ref"].rpartition("/")[2]] if "$ref" in found else found
        assert section["title"] == key


def test_inputs_that_take_a_name_offer_the_valid_names():
    inputs = dict(leaves(parameter_schema(pipeline).model_dump_for_openapi()))
    assert inputs["config.dataset.format"]["enum"] == ["voc", "list", "coco", "scenes"]
    assert inputs["until"]["enum"] == list(run_names())
    assert inputs["config.cam.refine"]["enum"] == ["none", "mhsa", "caa"]


@pytest.mark.parametrize("template", ["a {}.", ("a {}.", "the {}.")])
def test_the_values_of_a_deployment_are_valid_when_sent_back(configs, template):
    config = load_config(str(configs / "demo.yaml"))
    prompts = config.prompts.model_copy(update={"template": template})
    config = config.model_copy(update={"prompts": prompts})
    schema, sent = parameter_schema(pipeline).model_dump_for_openapi(), {"config": config.model_dump(mode="json")}
    is_valid_schema(schema)
    assert validate(sent, schema) == []
    assert pipeline.validate_parameters(sent)["config"] == config


def test_invalid_values_are_reported_before_a_run_starts(configs):
    config = load_config(str(configs / "demo.yaml")).model_dump(mode="json")
    config["crf"]["iter_max"], config["execution"]["gpu_workers"] = 0, "many"
    config["dataset"]["format"] = "vok"
    sent = {"config": config, "until": "end"}
    paths = {error.json_path for error in validate(sent, parameter_schema(pipeline).model_dump_for_openapi())}
    assert paths == {"$.config.crf.iter_max", "$.config.dataset.format", "$.config.execution.gpu_workers", "$.until"}
