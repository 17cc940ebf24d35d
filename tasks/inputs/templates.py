"""Candidate templates: those that are shipped, and those of a user's file."""

import logging

from clipes.tasks.machine.shipped import CANDIDATE_TEMPLATES
from clipes.tasks.storage.user_files import absolute, read_lines
from clipes_core.errors import DatasetError, PromptError

PAPER_TEMPLATES = ("a clean origami {}.", "a rendering of a weird {}.")

logger = logging.getLogger(__name__)


def shipped_templates() -> tuple[str, ...]:
    """Return the candidates that `auto` chooses from.

    Source: CLIP-ES sec. 3.2 has the first two. The other 80 are those that OpenAI published for ImageNet, as in
    OpenCLIP's zero_shot_metadata.OPENAI_IMAGENET_TEMPLATES.
    """
    return read_templates(str(CANDIDATE_TEMPLATES))


def read_templates(path: str) -> tuple[str, ...]:
    """Read templates, one a line; blank lines do not count, repeated ones count once and are told.

    Args:
        path: of a UTF-8 text file; any fsspec URI.

    Raises:
        PromptError: no such file, none in it, or lines without exactly one {}; one line each.
    """
    place = absolute(path)
    lines: dict[str, int] = {}
    faults = []
    try:
        for number, line in read_lines(place):
            template = line.strip()
            if template.count("{}") != 1:
                faults.append(f"{path}, line {number}: {template!r} must hold {{}} exactly once, where the words go")
            elif template in lines:
                logger.warning("%s, line %d repeats line %d: %r counts once", path, number, lines[template], template)
            else:
                lines[template] = number
    except FileNotFoundError as exc:
        raise PromptError(f"{path}: there is no such file of templates") from exc
    except DatasetError as exc:
        raise PromptError(str(exc)) from exc
    if faults:
        raise PromptError("\n".join(faults))
    if not lines:
        raise PromptError(f"{path}: holds no template; write one a line, with {{}} where the class words go")
    return tuple(lines)
