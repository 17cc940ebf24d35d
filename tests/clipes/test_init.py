"""The names of the package clipes, which are imported when they are first used."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import clipes

SLOW = ("torch", "prefect", "numpy", "PIL", "pandas", "matplotlib", "pyarrow", "pydantic")


def run_program(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_import_clipes_loads_no_large_package():
    done = run_program(f"import sys, clipes; print([name for name in {SLOW} if name in sys.modules], dir(clipes))")
    assert done.returncode == 0, done.stderr
    loaded, _, names = done.stdout.partition("] ")
    assert loaded == "["
    assert "Masker" in names


def test_each_public_name_is_imported_when_it_is_used():
    for name, home in clipes._HOMES.items():
        assert getattr(clipes, name) is getattr(import_module(home), name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'clipes' has no attribute 'Maskr'$"):
        clipes.Maskr  # noqa: B018


def test_type_checkers_see_the_same_names_from_the_same_modules():
    tree = ast.parse(Path(clipes.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == clipes._HOMES
