import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clipes_core.crf_backends import lattice
from clipes_core.crf_backends.lattice import chains, filters, grid, inference, layout, simplices, vertices

PACKAGE = Path(lattice.__file__).parent
ROOT = PACKAGE.parents[2]
KERNEL_MODULES = (chains, filters, grid, layout, simplices, vertices)
DECORATORS = {"kernel", "exact_kernel"}
COUNT_MISSES = "sum(sum(kernel.stats.cache_misses.values()) for kernel in KERNELS)"
PREPARE = f"""
from clipes_core.crf_backends.lattice.compilation import KERNELS
from clipes_core.crf_backends.lattice.inference import infer, prepare
def inform(message):
    compiled = sum(len(kernel.nopython_signatures) for kernel in KERNELS)
    print("info, with", compiled, "compiled kernels:", message)
prepare(inform, lambda message: print("warning:", message))
print({COUNT_MISSES} > 0)
"""
INFER = """
import numpy as np
for labels in (2, 3, 4, 5, 7, 9, 12, 21):
    image = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    infer(np.zeros((labels, 30, 41), np.float32), image, DenseCrfConfig(pos_xy_std=labels % 2 + 1))
"""


def python(program, **environment):
    """Run a program in a process of its own, and return what it prints."""
    process = subprocess.run(
        [sys.executable, "-P", "-c", program],  # -P: the current folder is not searched for packages
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


def kernels(tree):
    return [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and DECORATORS & {each.id for each in node.decorator_list if isinstance(each, ast.Name)}
    ]


def test_the_list_of_kernel_modules_is_complete():
    found = {path.stem for path in PACKAGE.glob("*.py") if kernels(ast.parse(path.read_text()))}
    assert found == {module.__name__.rpartition(".")[2] for module in KERNEL_MODULES}


@pytest.mark.parametrize("module", KERNEL_MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_kernels_use_only_names_of_their_own_file(module):
    """Numba's cache does not notice that another file has changed."""
    tree = ast.parse(Path(module.__file__).read_text())
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module.startswith("clipes_core")
        for alias in node.names
    }
    for node in kernels(tree):
        used = {each.id for part in node.body for each in ast.walk(part) if isinstance(each, ast.Name)}
        assert not used & imported, f"{node.name} uses {used & imported}"


def test_preparation_compiles_once_and_for_all_numbers_of_labels(tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert python(PREPARE, **cache) == [
        "info, with 0 compiled kernels: compiling the CRF, once for this installation (about 20 s)",
        "True",
    ]
    assert python(
        PREPARE + "from clipes_core.config.crf import DenseCrfConfig" + INFER + f"print({COUNT_MISSES})", **cache
    ) == [
        "False",
        "0",
    ]


LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"  # no file can grow, as on a full disk
WITHOUT_CACHE = """
import numpy as np
from clipes_core.crf_backends.lattice.inference import prepare
from clipes_core.crf_backends.lattice.layout import posterior_rows
prepare(lambda message: print("info:", message), lambda message: print("warning:", message))
rows = np.zeros((1, 2), np.float32)
posterior_rows(np.array([[[1], [2]]], np.float32).transpose(1, 0, 2).copy(), 0, rows)
print(rows.tolist())
"""


def test_a_full_disk_is_a_warning(tmp_path):
    warning, result = python(LIMITED + WITHOUT_CACHE, NUMBA_CACHE_DIR=str(tmp_path))
    assert warning.startswith("warning: numba cannot store the machine code of the CRF ([Errno 27] File too large)")
    assert "NUMBA_CACHE_DIR" in warning
    assert result == "[[1.0, 2.0]]"


def test_an_installation_without_a_writable_folder_is_a_warning(tmp_path):
    """Put files in the places where numba makes folders: beside the source file, and in the user's cache folder."""
    shutil.copytree(ROOT / "clipes_core", tmp_path / "clipes_core", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "clipes_core" / "crf_backends" / "lattice" / "__pycache__").touch()
    (tmp_path / "no_folder").touch()
    places = {"NUMBA_CACHE_DIR": "", "XDG_CACHE_HOME": f"{tmp_path}/no_folder", "HOME": f"{tmp_path}/no_folder"}
    warning, result = python(WITHOUT_CACHE, PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1", **places)
    assert warning.startswith("warning: numba cannot store the machine code of the CRF (cannot cache function")
    assert result == "[[1.0, 2.0]]"


def test_the_second_preparation_in_a_process_says_nothing():
    messages = []
    for _ in range(2):
        messages.clear()
        inference.prepare(messages.append, messages.append)
    assert not [message for message in messages if message.startswith("numba")]
