import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def scale(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import scale

    return scale


def test_the_exponent_is_the_slope_of_the_logarithm(scale):
    assert scale.exponent([10, 1000], [3.0, 300.0]) == pytest.approx(1)
    assert scale.exponent([10, 20, 40], [1.0, 99.0, 16.0]) == pytest.approx(2)
    assert scale.exponent([5, 50], [7.0, 7.0]) == 0
    assert math.isnan(scale.exponent([5], [7.0]))


def test_a_limit_is_compared_with_the_largest_size_extrapolated(scale):
    half = [scale.Measured(250_000, 250, memory_mib=600), scale.Measured(1_000_000, 1000, memory_mib=2000)]
    assert scale.exceeded("photos", half) == []  # 3,867 MiB
    half[1].memory_mib = 2200
    assert "4333 MiB of memory for two million photos, limit 4096" in scale.exceeded("photos", half)[0]

    shards = [scale.Measured(2 * count, count, seconds={"cached run": 0.007 * count}) for count in (1000, 10_000)]
    assert "350 seconds" in scale.exceeded("shards", shards)[0]

    cached = {"cached run": 5e7, "report": 1e8}
    s3 = [scale.Measured(100_000, 100, seconds={"plan, all cached": 5.0}, received=cached, memory_mib=300)]
    assert "3000 MB received" in scale.exceeded("s3", s3)[0]


@pytest.mark.slow
def test_small_sizes_are_measured(tmp_path):
    sizes = ["--photos", "400", "800", "--shards", "10", "20", "--s3", "1", "2", "--latency-ms", "1"]

    done = subprocess.run(
        [sys.executable, BENCHMARKS / "scale.py", *sizes, "--json", tmp_path / "found.json"],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert "Traceback" not in done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert [each["photos"] for each in found["photos"]] == [400, 800]
    assert [each["shards"] for each in found["shards"]] == [10, 20]
    assert found["s3"][1]["requests"]["cached run"] > 0
    assert done.returncode == bool(found["failures"])
