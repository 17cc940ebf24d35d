"""Groups of stages that depend on the same settings or inputs."""

from clipes.tasks.stages.registry import STAGES

NOTHING = ()
SCORES = ("segmenter_scores",)
PREDICTIONS = ("segmenter_agreement", *SCORES)
TRAINED_ON = ("segmenter", *PREDICTIONS)
MASKS_ON = ("masks", "mask_scores", *TRAINED_ON)
CAMS_ON = ("prompt_scores", "cams", *MASKS_ON)
PHOTOS_ON = ("embeddings", "prompts", "prompt_scores", "word_scores", "cams", *MASKS_ON)
TEXTS_ON = ("candidate_texts", "prompts", "prompt_scores", "texts", "word_scores", "cams", *MASKS_ON)
WORDS = ("word_texts", "word_scores")
DRAWN = ("true_masks", "evaluation_true_masks")  # they depend on annotation files only
EVERYTHING = tuple(stage for stage in STAGES if stage not in DRAWN)
