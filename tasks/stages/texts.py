"""The stages `texts` and `candidate_texts`: the text features of the classes and of the background words."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_kinds import CANDIDATE_TEXT_ROWS, TEXT_ROWS
from clipes.tasks.plan.row_schema import column
from clipes.tasks.plan.run_inputs import Ranking, RunInputs
from clipes.tasks.plan.stage import Stage
from clipes.tasks.plan.stage_keys import key_without_upstream
from clipes.tasks.storage.layout import RANKING_PLOT, RANKING_TABLE
from clipes_core.config.pseudo_masks import PromptsConfig
from clipes_core.text_features import TextFeatures
from clipes_core.vocabulary import Vocabulary

if TYPE_CHECKING:
    from clipes.tasks.models.clip import Clip


@dataclass(frozen=True, kw_only=True)
class TextRow:
    """A text that takes part in the softmax, and its feature.

    Attributes:
        class_id: data set id 1..K, or 0 for a background word.
        name: name of the class, or the background word.
        sentences: sentences that CLIP encoded: each template with the words of this text inserted.
        feature: (D,) mean feature of the sentences, L2-normalised.
    """

    class_id: int = column("int16")
    name: str = column("string")
    sentences: tuple[str, ...] = column("list<string>")
    feature: np.ndarray = column("list<float32>")


class Texts(Stage):
    """Inserts the words of the vocabulary into the templates of the config, and encodes the resulting sentences."""

    name, version = "texts", 1
    row, kind, workers = TextRow, TEXT_ROWS, "gpu"

    @override
    def reads(self, inputs: RunInputs) -> dict[str, Any] | None:
        prompts = inputs.config.prompts
        if not prompts.templates:
            return None
        joined = prompts.fusion == "sentence"
        words = [
            [entry.name, entry.sentence_words if joined else entry.separate_words]
            for entry in inputs.vocabulary.classes
        ]
        return {
            "model": [inputs.config.clip.model, inputs.model_digest],
            "templates": prompts.templates,
            "fusion": prompts.fusion,
            "background": inputs.vocabulary.background_words if prompts.background else (),
            "classes": words,
        }

    @override
    def rows(self, job: ShardJob) -> Iterator[TextRow]:
        """Insert the words of the vocabulary into the templates of the config, and encode the resulting sentences.

        Raises:
            PromptError: a sentence is too long for CLIP.
            WeightsError: the weights cannot be used.
        """
        from clipes.tasks.models.loaded_clip import loaded_clip

        yield from text_rows(loaded_clip(job.config.clip, job.model_digest), job.vocabulary, job.config.prompts)


TEXTS = Texts()


def text_rows(clip: "Clip", vocabulary: Vocabulary, prompts: PromptsConfig) -> Iterator[TextRow]:
    """Insert the words of a vocabulary into templates, and encode the resulting sentences.

    Raises:
        PromptError: a sentence is too long for CLIP.
    """
    from clipes_core.prompts import sentences, text_feature, vocabulary_texts

    for text in vocabulary_texts(vocabulary, prompts):
        yield TextRow(
            class_id=text.class_id,
            name=text.name,
            sentences=tuple(line for phrase in text.phrases for line in sentences(phrase, prompts.templates)),
            feature=text_feature(clip.model, clip.tokenizer, text.phrases, prompts.templates).cpu().numpy(),
        )


def text_features(clip: "Clip", vocabulary: Vocabulary, prompts: PromptsConfig) -> TextFeatures:
    """Compute the text features that `read_texts` reads in a run with the same settings.

    Raises:
        PromptError: a sentence is too long for CLIP.
    """
    from clipes.tasks.models.loaded_clip import logit_scale

    rows = list(text_rows(clip, vocabulary, prompts))
    features = np.asarray([row.feature for row in rows], dtype=np.float32)
    return TextFeatures(np.asarray([row.class_id for row in rows]), features, logit_scale(clip))


@dataclass(frozen=True)
class RankingOfTemplates(Ranking):
    """A ranking of templates, by `clipes prompts`, or by a run with `prompts.template: auto`."""

    ranks, entry = "templates", "candidates"
    files = f"{RANKING_PLOT} and {RANKING_TABLE}"

    @override
    def inputs_of(self, inputs: RunInputs, candidate: str) -> RunInputs:
        return inputs.with_prompts(template=candidate)


class CandidateTexts(Texts):
    """Does the work of `Texts` for each candidate template, with one shard per template.

    The artifact of a candidate is identical to the artifact that the stage `texts` writes in a run with the inputs of
    the candidate. Each of the two stages can therefore reuse the artifacts of the other.
    """

    name, kind = "candidate_texts", CANDIDATE_TEXT_ROWS
    ranking: type[Ranking] = RankingOfTemplates
    stored_as = TEXTS

    @override
    def reads(self, inputs: RunInputs) -> dict[str, Any] | None:
        if not isinstance(inputs.ranking, self.ranking):
            return None
        of_candidates = map(inputs.of_candidate, range(len(inputs.candidates)))
        return {TEXTS.name: [key_without_upstream(TEXTS, each) for each in of_candidates]}


CANDIDATE_TEXTS = CandidateTexts()


def read_texts(job: ShardJob, uri: str) -> TextFeatures:
    """Read the text features from an artifact of the stage `texts`, and add CLIP's logit scale.

    Raises:
        ArtifactError: the artifact cannot be read.
        WeightsError: CLIP's weights cannot be used, or have changed since the run was planned.
    """
    from clipes.tasks.models.loaded_clip import loaded_clip, logit_scale

    clip = loaded_clip(job.config.clip, job.model_digest)
    columns = job.store.read(uri, ["class_id", "feature"]).to_pydict()
    features = np.asarray(columns["feature"], dtype=np.float32)
    return TextFeatures(np.asarray(columns["class_id"]), features, logit_scale(clip))
