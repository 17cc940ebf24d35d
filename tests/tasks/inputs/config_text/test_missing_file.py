import pytest

from clipes.tasks.inputs.config_text.missing_file import explain_missing


@pytest.fixture
def folder(tmp_path):
    for name in ("birds.yaml", "fish.yml", "notes.txt"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("name", ["bird.yaml", "birds"])
def test_a_similar_name_is_suggested(folder, name):
    message = f"{folder}/{name}: there is no such config file; did you mean {folder}/birds.yaml?"
    assert explain_missing(f"{folder}/{name}") == message


def test_without_a_similar_name_the_configs_of_the_folder_are_listed(folder):
    assert explain_missing(f"{folder}/x").endswith(f"; its folder has {folder}/birds.yaml, {folder}/fish.yml")
    for number in range(3):
        (folder / f"{number}.yaml").touch()
    assert explain_missing(f"{folder}/x").endswith(f"/0.yaml, {folder}/1.yaml, {folder}/2.yaml and 2 more")


@pytest.mark.parametrize("path", ["none/x.yaml", "s3://bucket/x.yaml"])
def test_a_folder_that_does_not_exist_and_a_uri_are_not_searched(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert explain_missing(path).startswith(f"{path}: there is no such config file")


def test_a_folder_is_no_config(folder):
    advice = f"name one of the files in it: {folder}/birds.yaml, {folder}/fish.yml"
    assert explain_missing(str(folder)) == f"{folder} is a folder, but a config is a YAML file: {advice}"
    (folder / "photos").mkdir()
    assert explain_missing(f"{folder}/photos").endswith(f": clipes init {folder}/photos writes one")
