"""Build the package, but not from a clone without symbolic links: its wheel would silently lack most of the code."""

from pathlib import Path

from setuptools import setup

BROKEN = [name for name in ("flows", "tasks", "configs") if not (Path(__file__).parent / "clipes" / name).is_dir()]
if BROKEN:
    raise SystemExit(
        f"clipes: clipes/{BROKEN[0]} is a file, not a link to the folder {BROKEN[0]}/: this clone was made without "
        "symbolic links. Run `git config core.symlinks true` and `git checkout -- clipes`, then install again."
    )
setup()
