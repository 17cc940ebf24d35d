"""Write the config, the vocabulary and the list for a folder of photos, so that `clipes run` works immediately."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from clipes.tasks.commands.init.config_files import (
    RunText,
    config_text,
    list_text,
    parse_vocabulary,
    vocabulary_text,
)
from clipes.tasks.commands.init.inspection import Inspection, inspect_folder
from clipes.tasks.commands.init.word_proposals import read_proposals
from clipes.tasks.inputs.datasets.listing import read_dataset
from clipes.tasks.inputs.locations import checked_location
from clipes.tasks.machine.devices import available_devices
from clipes.tasks.storage.user_files import write_bytes
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.uri import is_uri
from clipes_core.errors import DatasetError, UsageError
from clipes_core.vocabulary import Vocabulary

ANY_CLASS = Vocabulary.model_validate({"classes": [{"name": "object"}]})  # for photos without labels
SMALL_SET = 1000  # photos
SMALL_RECIPE, LARGE_RECIPE = "small_cpu", "deeplabv2_r101_voc12"
CONFIG_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Targets:
    """The files to write: absolute paths of the config, the vocabulary and the list."""

    config: Path
    vocabulary: Path
    list: Path

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        """All three paths."""
        return self.config, self.vocabulary, self.list


@dataclass(frozen=True)
class Initialised:
    """The result of `clipes init`.

    Attributes:
        inspection: what was found.
        run: what the config says.
        files: the files that were written.
    """

    inspection: Inspection
    run: RunText
    files: tuple[Path, ...]


def initialise(
    folder: str, to: str | None = None, force: bool = False, layout: str | None = None, labels: str | None = None
) -> Initialised:
    """Inspect a folder of photos, and write a config, a vocabulary and, if a run needs it, a list.

    Args:
        folder: the folder of the photos, on a local disk.
        to: path of the config, which ends with .yaml, or a folder for the files; None for the working directory.
        force: whether to replace existing files.
        layout: name of the layout of the folder; None to recognise it.
        labels: path of a table or COCO file with the labels; None to search the folder for labels.

    Raises:
        ConfigError: no layout has this name, or a config cannot contain the path of a file or folder.
        DatasetError: the folder has too many classes, or a file cannot be written.
        UsageError: the folder cannot be used, a file exists, or the files would be written among the photos.
    """
    if is_uri(folder) or (to is not None and is_uri(to)):
        raise UsageError(
            "clipes init reads and writes local folders; for other places, write the config by hand (docs/own-data.md)"
        )
    if labels is not None and not Path(labels).is_file():
        raise UsageError(f"--labels: no file {labels}; give a table (.csv) or an annotation file of COCO (.json)")
    targets = find_targets(folder, to)
    given = None if labels is None else Path(os.path.abspath(labels))  # noqa: PTH100 - see read_folder
    inspection = inspect_folder(Path(folder), layout, given, targets.paths)
    run = _run_text(inspection, targets)
    vocabulary = vocabulary_text(run, inspection.classes, read_proposals())
    texts = {targets.config: "", targets.vocabulary: vocabulary}
    settings = inspection.found.settings
    if inspection.classes and settings and _reads_the_same(inspection, settings, parse_vocabulary(vocabulary)):
        run = _as_it_is(run, inspection, settings, targets)
    else:
        classes = parse_vocabulary(vocabulary) if inspection.classes else ANY_CLASS
        inspection = leave_out_rejects(inspection, classes)
        texts[targets.list] = list_text(inspection.found.photos, classes.known_names)
    texts[targets.config] = config_text(run)
    _write(texts, force)
    return Initialised(inspection, run, tuple(texts))


def find_targets(folder: str, to: str | None) -> Targets:
    """Return the files to write.

    Raises:
        ConfigError: the absolute path of the folder or of the config has a character that no path in a config may have.
        UsageError: the files would be written among the photos, although that is not the working directory.
    """
    photos, here = Path(os.path.abspath(folder)), Path.cwd()  # noqa: PTH100 - see read_folder
    named = to is not None and to.lower().endswith(CONFIG_SUFFIXES)
    config = here.joinpath(to or "")
    if not named:
        config /= f"{run_name(photos.name)}.yaml"
    for path, option in ((photos, "FOLDER"), (config, "--to")):
        checked_location(str(path), option)
    place = config.parent.resolve()
    if place != here.resolve() and place.is_relative_to(photos.resolve()):
        raise UsageError(
            f"--to: {config.parent} is in the folder of the photos; name another folder, or change into it"
        )
    return Targets(
        config, config.with_name(f"{config.stem}-classes.yaml"), config.with_name(f"{config.stem}-photos.csv")
    )


def run_name(text: str) -> str:
    """Return a text as the name of a run."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_") or "photos"


def _run_text(inspection: Inspection, targets: Targets) -> RunText:
    found, place = inspection.found, targets.config.parent
    recipe, reason = _choose_recipe(len(found.photos))
    return RunText(
        description=f"{len(found.photos)} photos in {_shown(inspection.folder.root, place)}: {found.description}",
        file=_shown(targets.config, place),
        name=run_name(targets.config.stem),
        format="list",
        root=_shown(inspection.folder.root, place),
        split=_shown(targets.list, place),
        classes=_shown(targets.vocabulary, place),
        has_truth=any(photo.truth for photo in found.photos),
        recipe=recipe,
        reason=reason,
        evaluation="",
    )


def _choose_recipe(photos: int) -> tuple[str, str]:
    """Return the training recipe for a number of photos on this machine, and the reason for it."""
    if available_devices("auto") != ("cpu",):
        return LARGE_RECIPE, "the network of the paper, for a GPU; without one, use small_cpu, a light network"
    if photos < SMALL_SET:
        return SMALL_RECIPE, f"a light network for a processor and small sets; with a GPU, use {LARGE_RECIPE}"
    return "", f"training on {photos} photos needs a GPU; on a machine that has one, set train.enabled to true"


def _shown(path: Path, place: Path) -> str:
    """Return a path as the files state it: relative to the working directory if they lie there, otherwise absolute."""
    here = Path.cwd()
    if place == here and path != here and path.is_relative_to(here):
        return path.relative_to(here).as_posix()
    return "." if place == here == path else str(path)


def leave_out_rejects(inspection: Inspection, vocabulary: Vocabulary) -> Inspection:
    """Return the inspection without the photos that a run would reject when it reads the list, with doubts about them.

    For example, a run rejects the second of two photos whose paths differ only in the suffix, because both have the
    same id.
    """
    found, root = inspection.found, inspection.folder.root
    with TemporaryDirectory() as folder:
        split = Path(folder, "photos.csv")
        split.write_text(list_text(found.photos, vocabulary.known_names), encoding="utf-8")
        config = DatasetConfig.model_validate({"format": "list", "root": str(root), "split": str(split)})
        listing = read_dataset(config, vocabulary)
    reasons = {os.path.relpath(reject.uri, root): reject.reason for reject in listing.rejects}
    for path, reason in reasons.items():
        found.doubts.add(f"photos that are left out, because {reason}", path)
    kept = tuple(photo for photo in found.photos if photo.path not in reasons)
    return replace(inspection, found=replace(found, photos=kept))


def _as_it_is(run: RunText, inspection: Inspection, settings: Mapping[str, str], targets: Targets) -> RunText:
    """Return the values of the config with which clipes reads the data set as it is."""
    values, place = _absolute_settings(inspection, settings), targets.config.parent
    return replace(
        run,
        format=values["format"],
        root=_shown(Path(values["root"]), place),
        split=_shown(Path(values["split"]), place) if "/" in values["split"] else values["split"],
        evaluation=inspection.found.evaluation,
    )


def _reads_the_same(inspection: Inspection, settings: Mapping[str, str], vocabulary: Vocabulary) -> bool:
    """Return whether clipes reads exactly the photos and labels that were found, without a list."""
    root, values = inspection.folder.root, _absolute_settings(inspection, settings)
    ids = vocabulary.known_names
    wanted = {str(root / photo.path): {ids[label] for label in photo.labels} for photo in inspection.found.photos}
    try:
        listing = read_dataset(DatasetConfig.model_validate(values), vocabulary)
    except DatasetError:  # such as another dialect of CSV; the list has what was found
        return False
    return not listing.rejects and {photo.uri: set(photo.class_ids) for photo in listing.photos} == wanted


def _absolute_settings(inspection: Inspection, settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings of the data set with absolute paths; the name of a split stays as it is."""
    root, split = str(inspection.folder.root), settings["split"]
    path = os.path.normpath(os.path.join(root, split))  # noqa: PTH118 - it may lead out of the root
    return {
        "format": settings["format"],
        "root": os.path.normpath(os.path.join(root, settings["root"])),  # noqa: PTH118
        "split": path if Path(path).is_file() else split,
    }


def _write(texts: Mapping[Path, str], force: bool) -> None:
    existing = [str(path) for path in texts if os.path.lexists(path)]
    if existing and not force:
        raise UsageError(
            f"--to: nothing was written, because these files exist: {', '.join(existing)}; add --force to replace them"
        )
    for path, text in texts.items():
        write_bytes(str(path), text.encode())
