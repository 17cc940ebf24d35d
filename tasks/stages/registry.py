"""All stages, in the order of the pipeline. A new stage adds a line here, and one to flows/pipeline.py."""

from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import Stage
from clipes.tasks.plan.stage import stage_keys as keys_of_stages
from clipes.tasks.stages.cams import CAMS
from clipes.tasks.stages.embeddings import EMBEDDINGS
from clipes.tasks.stages.mask_scores import MASK_SCORES
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.stages.prompt_scores import PROMPT_SCORES
from clipes.tasks.stages.prompts import PROMPTS
from clipes.tasks.stages.segmenter import SEGMENTER
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES
from clipes.tasks.stages.texts import CANDIDATE_TEXTS, TEXTS

MANIFEST = "manifest"  # the listing of photos, which the command itself makes: no stage, but shown like one
STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        CANDIDATE_TEXTS,
        EMBEDDINGS,
        PROMPTS,
        PROMPT_SCORES,
        TEXTS,
        CAMS,
        MASKS,
        MASK_SCORES,
        SEGMENTER,
        SEGMENTER_SCORES,
    )
}


def all_names() -> tuple[str, ...]:
    """Return the names of the manifest and of all stages, in the order they run."""
    return (MANIFEST, *STAGES)


def run_names() -> tuple[str, ...]:
    """Return the names of the manifest and of the stages of a run, in their order: what `--until` takes."""
    return (MANIFEST, *(stage.name for stage in STAGES.values() if not stage.ranks_templates))


def title_of(name: str) -> str:
    """Return what tables and pages call a stage, or the manifest."""
    return STAGES[name].title if name in STAGES else name


def stage_keys(inputs: RunInputs) -> dict[str, str]:
    """Return the key of every stage whose settings are known; see `clipes.tasks.plan.stage.stage_keys`."""
    return keys_of_stages(STAGES.values(), inputs)
