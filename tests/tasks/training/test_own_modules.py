import shutil
import sys

import pytest
from support.small_recipes import recipe_of

from clipes.tasks.training.building import register_modules
from clipes.tasks.training.own_modules import code_digests
from clipes_core.errors import ConfigError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder in which Python finds modules."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("own_a", ["own_a.py"]),
        ("own_b", ["own_b/__init__.py", "own_b/inner/part.py"]),
        ("own_c.heads", ["own_c/__init__.py", "own_c/heads.py", "own_c/losses.py"]),
        ("own_d.heads", ["own_d/heads.py"]),
        ("own_e.inner.heads", ["own_e/inner/__init__.py", "own_e/inner/losses.py"]),
    ],
)
def test_every_source_file_of_the_module_and_its_package_counts(folder, name, files):
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("raise SystemExit  # no module is imported\n")
    (folder / name.partition(".")[0]).mkdir(exist_ok=True)
    before = code_digests([name])
    (folder / "other.py").write_text("")
    assert code_digests([name]) == before
    for file in files:
        original = (folder / file).read_text()
        (folder / file).write_text("pass\n")
        assert code_digests([name]) != before
        (folder / file).write_text(original)
    assert code_digests([name]) == before


def test_the_location_of_the_files_does_not_count(folder, tmp_path, monkeypatch):
    (folder / "own_f").mkdir()
    (folder / "own_f" / "__init__.py").touch()
    before = code_digests(["own_f"])
    shutil.move(folder / "own_f", tmp_path / "own_f")
    monkeypatch.syspath_prepend(tmp_path)
    assert code_digests(["own_f"]) == before


def test_modules_of_clipes_have_no_digest():
    assert code_digests(["clipes_core.segmentation", "clipes.tasks.training.data.dataset"]) == ()


@pytest.mark.parametrize("name", ["own_nonesuch", "own_nonesuch.heads", "", "math", "__main__"])
def test_modules_without_source_files_are_left_to_the_import(name):
    assert len(code_digests([name])) == 1


def test_changed_code_changes_the_recipe_and_is_refused_during_a_run(folder, tiny_config, monkeypatch):
    (folder / "own_g.py").write_text("SPEED = 1\n")
    monkeypatch.delitem(sys.modules, "own_g", raising=False)
    planned = recipe_of(tiny_config('custom_imports = dict(imports=["own_g"])'), init="none")
    with register_modules(planned):
        pass
    (folder / "own_g.py").write_text("SPEED = 22\n")

    changed = recipe_of(tiny_config('custom_imports = dict(imports=["own_g"])'), init="none")

    assert changed.digest != planned.digest
    message = r"its custom_imports \(own_g\) changed during the run: run again"
    with pytest.raises(ConfigError, match=message), register_modules(planned):
        pass
