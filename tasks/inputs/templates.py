"""Read candidate templates (the prompt templates that a run ranks) from clipes's own file or from a user's file."""

import logging

from clipes.tasks.machine.shipped_files import CANDIDATE_TEMPLATES
from clipes.tasks.storage.user_files import absolute, read_lines
from clipes_core.errors import DatasetError, PromptError

PAPER_TEMPLATES = ("a clean origami {}.", "a rendering of a weird {}.")

logger = logging.getLogger(__name__)


def shipped_templates() -> tuple[str, ...]:
    """Return the candidate templates that clipes ships. A run with `prompts.template: auto` ranks them.

    Source: the first two are from CLIP-ES sec. 3.2. The other 80 are OpenAI's templates for ImageNet, which OpenCLIP
    contains as `zero_shot_metadata.OPENAI_IMAGENET_TEMPLATES`.
    """
    return read_templates(str(CANDIDATE_TEMPLATES))


def read_templates(path: str) -> tuple[str, ...]:
    """Read templates, one per line. Skip blank lines. If a template is repeated, skip the repetition and log a warning.

    Args:
        path: path or fsspec URI of a UTF-8 text file.

    Raises:
        PromptError: the file is missing, cannot be read or has no template, or a template does not contain {}, or
            contains {} several times. The message lists all such templates.
    """
    place = absolute(path)
    lines: dict[str, int] = {}
    bad_lines = []
    try:
        for number, line in read_lines(place):
            template = line.strip()
            if template.count("{}") != 1:
                bad_lines.append(
                    f"{path}, line {number}: {template!r} must contain {{}} exactly once, where the class words go"
                )
            elif template in lines:
                logger.warning(
                    "%s: line %d repeats the template of line %d, %r: the repetition is ignored",
                    path,
                    number,
                    lines[template],
                    template,
                )
            else:
                lines[template] = number
    except FileNotFoundError as exc:
        raise PromptError(f"{path}: this template file does not exist") from exc
    except DatasetError as exc:
        raise PromptError(str(exc)) from exc
    if bad_lines:
        raise PromptError("\n".join(bad_lines))
    if not lines:
        raise PromptError(f"{path}: has no template; write one per line, with {{}} where the class words go")
    return tuple(lines)
