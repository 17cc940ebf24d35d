"""The texts of the files that `clipes init` writes: the run config, the vocabulary and the list."""

import csv
import shlex
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import StringIO

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from clipes.tasks.commands.init.class_names import FoundClass
from clipes.tasks.commands.init.layouts.layout import LabelledPhoto
from clipes.tasks.commands.init.word_proposals import WordProposals
from clipes.tasks.inputs.config_text.written import item_yaml, value_yaml
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.machine.shipped_files import INIT_TEMPLATES
from clipes.tasks.machine.terminal import printable
from clipes_core.vocabulary import ClassEntry, Vocabulary

SHIPPED = ("voc12", "coco14")  # vocabularies whose words were chosen by the authors of the method
OF_SHIPPED: tuple[str, ...] = ("the classes of VOC and COCO",)  # in place of themes
LINE = 110  # characters


@dataclass(frozen=True)
class RunText:
    """What the run config says.

    Attributes:
        description: the data set, as a sentence without a full stop.
        file: name of the config file.
        name: name of the run.
        format: value of dataset.format.
        root: value of dataset.root.
        split: value of dataset.split.
        classes: value of dataset.classes.
        has_truth: True if the data set has true masks.
        recipe: value of train.mmseg_config; empty if no segmenter is to be trained.
        reason: why this recipe was chosen, or none.
        evaluation: value of evaluation.split; empty if there is none.
    """

    description: str
    file: str
    name: str
    format: str
    root: str
    split: str
    classes: str
    has_truth: bool
    recipe: str
    reason: str
    evaluation: str


def config_text(run: RunText) -> str:
    """Return the text of the run config.

    Raises:
        ConfigError: a config cannot contain the name of a file or folder.
    """
    return _environment().get_template("config.yaml.jinja").render(run=run)


def vocabulary_text(run: RunText, classes: Sequence[FoundClass], proposals: WordProposals) -> str:
    """Return the text of the vocabulary.

    If all classes are those of VOC or COCO, the words are those that the authors of CLIP-ES chose. Otherwise, the
    background words are those of the themes of the classes.
    """
    shipped = next((each for each in map(load_vocabulary, SHIPPED) if _has_all(each, classes)), None)
    if shipped is not None:
        entries = {entry.name: entry for entry in shipped.classes}
        classes = [_with_words(each, entries[each.name]) for each in classes]
        background, themes = shipped.background_words, OF_SHIPPED
    else:
        texts = [text for each in classes for text in (each.name, each.words or "", *each.synonyms)]
        background, themes = proposals.background_words(texts)
    lines = textwrap.wrap(", ".join(map(item_yaml, background)), LINE, break_long_words=False, break_on_hyphens=False)
    template = _environment().get_template("vocabulary.yaml.jinja")
    return template.render(run=run, classes=classes, themes=themes, background=[line.rstrip(",") for line in lines])


def list_text(photos: Iterable[LabelledPhoto], ids: Mapping[str, int]) -> str:
    """Return the text of the list, which names the photos relative to dataset.root.

    Args:
        photos: the photos.
        ids: label -> class id, which stands for a label with a semicolon, because semicolons divide labels.
    """
    rows = list(photos)
    has_truth = any(photo.truth for photo in rows)
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "labels", *["truth"] * has_truth])
    writer.writerows(
        [
            photo.path,
            ";".join(str(ids[label]) if ";" in label else label for label in photo.labels),
            *[photo.truth] * has_truth,
        ]
        for photo in rows
    )
    return text.getvalue()


def parse_vocabulary(text: str) -> Vocabulary:
    """Return the vocabulary in the text of a file that has classes."""
    return Vocabulary.model_validate(yaml.safe_load(text))


def _has_all(vocabulary: Vocabulary, classes: Sequence[FoundClass]) -> bool:
    return bool(classes) and {each.name for each in classes} <= set(vocabulary.ids)


def _with_words(found: FoundClass, entry: ClassEntry) -> FoundClass:
    return FoundClass(found.name, found.photos, found.aliases, entry.words, entry.synonyms)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(INIT_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {"setting": value_yaml, "yaml": item_yaml, "comment": _comment, "argument": shlex.quote}
    return environment


def _comment(text: str) -> str:
    """Return a text on one line, without characters that YAML does not permit or takes for the end of a line."""
    return printable(text).replace("\n", " ").replace("\t", " ")
