"""Summarise benchmarks that compare two variants in pairs, and describe the machine that ran them."""

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16")  # as /proc/cpuinfo calls them


def quartiles(ratios: Sequence[float]) -> str:
    """Return the median and the quartiles of ratios as text, such as `1.52 [1.40-1.61]`.

    The speed of a machine varies within seconds, and two variants that take turns are affected alike. Therefore
    compute one ratio per pair, and never divide two medians.
    """
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return f"{middle:5.2f} [{low:.2f}-{high:.2f}]"


def write_json(path: Path, packages: Sequence[str], results: dict[str, Any]) -> None:
    """Write results to a file, with a description of the machine and the versions of packages."""
    versions = {name: version(name) for name in packages}
    path.write_text(json.dumps({**machine(), "versions": versions, **results}, indent=1))


def machine() -> dict[str, Any]:
    """Return the platform, the processor, its features that speed up networks, and the version of Python."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    known = fields.get("flags", "").split()
    return {
        "machine": platform.platform(),
        "processor": fields.get("model name", platform.processor()),
        "features": [name for name in FEATURES if name in known],
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
    }
