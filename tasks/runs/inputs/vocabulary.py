"""The vocabulary of a run, with the words that its prompts use."""

import logging

from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes_core.config.run import RunConfig
from clipes_core.errors import ConfigError
from clipes_core.prompts import chosen_words, unknown_words
from clipes_core.vocabulary import Vocabulary

logger = logging.getLogger(__name__)


def checked_vocabulary(config: RunConfig) -> Vocabulary:
    """Read the vocabulary of a config with the words that its prompts use, and check that it suits the other settings.

    Raises:
        ConfigError: the vocabulary cannot be read, or lacks words that the prompts name; or the settings need
            background words, and it has none.
    """
    vocabulary = chosen_words(load_vocabulary(config.dataset.classes), config.prompts)
    if config.cam.softmax and config.prompts.background and not vocabulary.background_words:
        raise ConfigError(
            f"dataset.classes: {config.dataset.classes} has no background_words{_left_out(config)}. Without background "
            "words, the softmax gives a photo with a single class an empty CAM: add background words, set "
            "cam.softmax=false, or set prompts.background=false to accept empty CAMs"
        )
    return vocabulary


def warn_of_unknown_words(config: RunConfig) -> None:
    """Log a warning if `prompts.leave_out` has words that are no background words, for example because of a typo.

    They are no error, so that the same list suits several vocabularies.
    """
    if unknown := unknown_words(load_vocabulary(config.dataset.classes), config.prompts):
        logger.warning(
            "prompts.leave_out: these are no background words of the vocabulary, and are ignored: %s",
            ", ".join(unknown),
        )


def _left_out(config: RunConfig) -> str:
    return " besides those of prompts.leave_out" if config.prompts.leave_out else ""
