"""All stages, in the order of the pipeline. To add a stage, add a line to IN_ORDER and one to flows/pipeline.py."""

from pkgutil import resolve_name

from clipes.tasks.plan.run_inputs import Ranking, RunInputs
from clipes.tasks.plan.stage import Stage
from clipes.tasks.plan.stage_keys import stage_keys as keys_of_stages
from clipes_core.config.run import RunConfig

MANIFEST = "manifest"  # the list of a run's photos; it is not a stage, but tables show it like one
IN_ORDER = (  # "module of this folder:name of a stage in this module"
    "texts:CANDIDATE_TEXTS",
    "embeddings:EMBEDDINGS",
    "prompts:PROMPTS",
    "prompt_scores:PROMPT_SCORES",
    "texts:TEXTS",
    "words.word_texts:WORD_TEXTS",
    "words.word_scores:WORD_SCORES",
    "cams:CAMS",
    "masks:MASKS",
    "true_masks:TRUE_MASKS",
    "mask_scores:MASK_SCORES",
    "true_masks:EVALUATION_TRUE_MASKS",
    "segmenter:SEGMENTER",
    "segmenter_agreement:SEGMENTER_AGREEMENT",
    "segmenter_scores:SEGMENTER_SCORES",
)
_DECLARED: list[Stage] = [resolve_name(f"{__package__}.{place}") for place in IN_ORDER]
STAGES = {stage.name: stage for stage in _DECLARED}
RANKINGS = tuple(dict.fromkeys(each.ranking for each in _DECLARED if each.ranking and each.ranking is not Ranking))


def all_names() -> tuple[str, ...]:
    """Return `manifest`, then the names of all stages in the order of the pipeline."""
    return (MANIFEST, *STAGES)


def run_names() -> tuple[str, ...]:
    """Return the values that `--until` accepts, in order: `manifest`, then the names of the stages of `clipes run`."""
    return (MANIFEST, *(stage.name for stage in STAGES.values() if stage.ranking is None))


def ranking_of(name: str) -> type[Ranking] | None:
    """Return the kind of ranking that a stage, or the manifest, is part of; None if it is part of other runs."""
    return STAGES[name].ranking if name in STAGES else None


def stages_until(config: RunConfig, until: str) -> tuple[str, ...]:
    """Return the names of the stages of `clipes run` up to `until`, without those that a config leaves out."""
    names = run_names()[1 : run_names().index(until) + 1]
    return tuple(name for name in names if STAGES[name].left_out_by(config) is None)


def title_of(name: str) -> str:
    """Return the title that tables and pages show for a stage or for the manifest."""
    return STAGES[name].title if name in STAGES else name


def stage_keys(inputs: RunInputs) -> dict[str, str]:
    """Return the key of every stage whose settings are known; see `clipes.tasks.plan.stage_keys.stage_keys`."""
    return keys_of_stages(STAGES.values(), inputs)
