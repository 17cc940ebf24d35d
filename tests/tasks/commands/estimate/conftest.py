import pytest

from clipes_core.config.run import RunConfig


@pytest.fixture
def config(tmp_path):
    return RunConfig(name="voc", store=str(tmp_path))
