"""The Dockerfile: a linter checks it, and the files that it copies must lead to a working installation."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_linter_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_image_runs_as_a_user_without_rights():
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE) == ["1000"]


def test_nothing_that_the_installation_needs_is_left_out_of_the_image():
    left_out = [line for line in (ROOT / ".dockerignore").read_text().split() if "*" not in line]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {Path(path).parts[0] for path in tracked} & set(left_out) == {"tests"}


def test_the_deployment_for_kubernetes_starts_in_the_folder_of_the_image():
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (pulled,) = [each["pull"][0] for each in declared if "pull" in each]
    (step,) = pulled.values()
    assert step["directory"] == re.search(r"^WORKDIR (\S+)$", DOCKERFILE, re.MULTILINE)[1]
