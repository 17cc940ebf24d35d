"""The Python code in the documentation, which runs as it is printed."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).parents[3]


def snippets(page: str) -> list[str]:
    """Return the blocks of Python code in a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def promised(code: str) -> list[str]:
    """Return the output that the comments behind calls of `print` promise."""
    return re.findall(r"print\(.*\) +# (.*)", code)


def test_the_five_lines_of_the_readme_run_in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    (code,) = snippets("README.md")
    assert len([line for line in code.splitlines() if line]) == 5
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert 0 < names["found"].foreground < 1
    assert [axes.get_title() for axes in plt.gcf().axes][:2] == ["Mask", "Confidence"]
    assert not list(tmp_path.iterdir())
    plt.close("all")


@pytest.mark.slow
def test_the_snippets_of_the_python_page_run_in_their_order(tmp_path, large_scene, monkeypatch, capsys, server):
    large_scene.save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    code = snippets("docs/python.md")
    assert len(code) >= 3
    names: dict[str, object] = {"__name__": "__main__"}
    for block in code:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert capsys.readouterr().out.splitlines() == [line for block in code for line in promised(block)]
    plt.close("all")
