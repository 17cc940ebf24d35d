import pytest

from clipes.tasks.ablation.grid_file import load_grid
from clipes_core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "message"), [("- 1", "expected keys such as title"), ("a: [", "cannot be read as YAML")]
)
def test_a_file_that_is_no_mapping_is_refused(text, message, grid_of):
    with pytest.raises(ConfigError, match=message):
        grid_of(text)


def test_a_grid_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--grid .*none\.yaml: there is no such grid; name a YAML file, or a grid"):
        load_grid(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match="--grid nothing: there is no such grid"):
        load_grid("nothing")


def test_a_label_that_yaml_reads_as_a_number_stays_as_it_is_written(grid_of):
    axes = "{t: {010: {cam.power: 1}, 0.10: {cam.power: 2}, 1e1: {cam.power: 3}, 1:30: {cam.power: 4}, 8: {}}}"
    grid = grid_of(f"title: T\naxes: {axes}\nshow: [initial_cam]\nreference: '010'")
    assert [variant.label for variant in grid.all_variants] == ["010", "0.10", "1e1", "1:30", "8"]
    assert [variant.settings.get("cam.power") for variant in grid.all_variants] == [1, 2, 3, 4, None]
