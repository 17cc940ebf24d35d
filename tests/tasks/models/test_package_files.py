import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import torch

from clipes.tasks.models.package_files import package_folder, package_version


@pytest.mark.parametrize("package", [torch, open_clip])
def test_the_version_and_folder_are_those_of_the_imported_package(package):
    assert package_version(package.__name__) == str(package.__version__)
    assert package_folder(package.__name__) == Path(package.__file__).parent


def test_the_package_is_not_imported():
    program = (
        "import sys; from clipes.tasks.models.package_files import package_version\n"
        "package_version('torch'); package_version('open_clip'); print({'torch', 'open_clip'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_missing_package_is_an_error():
    with pytest.raises(ModuleNotFoundError, match="the package not_installed_here is not installed"):
        package_folder("not_installed_here")
