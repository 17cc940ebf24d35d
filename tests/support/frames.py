"""The project's own functions on the call stack."""

import inspect
from pathlib import Path

ROOT = Path(__file__).parents[2]


def project_frames() -> list[str]:
    """Return the functions of clipes on the stack of the caller as `module.function`, outermost first."""
    frames = [frame for frame in inspect.stack() if Path(frame.filename).is_relative_to(ROOT / "clipes")]
    return [f"{Path(frame.filename).stem}.{frame.function}" for frame in reversed(frames)]
