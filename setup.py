"""Build the package. Stop if the wheel would lack code, or would contain files of an earlier build."""

from pathlib import Path

from setuptools import setup

BROKEN = [name for name in ("flows", "tasks", "configs") if not (Path(__file__).parent / "clipes" / name).is_dir()]
if BROKEN:
    raise SystemExit(
        f"clipes: clipes/{BROKEN[0]} is a file, not a link to the folder {BROKEN[0]}/: this clone was made without "
        "symbolic links. Run `git config core.symlinks true` and `git checkout -- clipes`, then install again."
    )
STALE = {path.name for path in (Path(__file__).parent / "build" / "lib").glob("*")} - {"clipes", "clipes_core"}
if STALE:
    raise SystemExit(
        f"clipes: build/lib/ holds files of an earlier build ({', '.join(sorted(STALE))}), and the wheel "
        "would contain them. Delete the folder build/, then build again."
    )
setup()
