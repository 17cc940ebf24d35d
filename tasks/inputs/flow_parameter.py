"""The type of the parameter `config` of Prefect flows. The Prefect UI shows this parameter as a form."""

from typing import Annotated, Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

from clipes.tasks.inputs.datasets.formats import FORMATS
from clipes_core.config.run import RunConfig


class _ListsFormats:
    """Adds the names of the data set formats to the JSON schema of RunConfig, which lacks these names."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        run = handler(schema)
        dataset = handler.resolve_ref_schema(run)["properties"]["dataset"]
        handler.resolve_ref_schema(dataset)["properties"]["format"]["enum"] = list(FORMATS)
        return run


ConfigParameter = Annotated[RunConfig, _ListsFormats()]
