"""Vocabularies and run configs with unusual YAML, read inside this process."""

from collections.abc import Callable
from pathlib import Path

from support.input_cases.photos import GOOD
from support.input_cases.readers import seen_of_listing
from support.input_cases.seen import Seen

from clipes.tasks.inputs.configs import read_config
from clipes.tasks.runs.inputs.photos import list_photos
from clipes_core.config.run import parse_config
from clipes_core.errors import ConfigError

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))


def with_classes(classes: str | list[str], folder: Path) -> Seen:
    """List a photo with the label dog and a vocabulary."""
    GOOD(folder / "a.jpg")
    (folder / "list.csv").write_text("image,labels\na.jpg,dog\n")
    dataset = {"format": "list", "split": str(folder / "list.csv"), "classes": classes}
    run = parse_config({"name": "own", "store": str(folder), "dataset": dataset})
    return seen_of_listing(lambda: list_photos(run), run.dataset, "a")


def vocabulary(content: str) -> Callable[[Path], Seen]:
    """Return a function that lists a photo with a vocabulary."""

    def seen(folder: Path) -> Seen:
        (folder / "own.yaml").write_text(content)
        return with_classes(str(folder / "own.yaml"), folder)

    return seen


def config(content: str) -> Callable[[Path], Seen]:
    """Return a function that reads a run config."""

    def seen(folder: Path) -> Seen:
        (folder / "run.yaml").write_text(content)
        try:
            read_config(str(folder / "run.yaml"))
        except ConfigError as error:
            return Seen(exit_code=2, message=str(error))
        return Seen()

    return seen


YAML_FILES: dict[tuple[str, str], Callable[[Path], Seen]] = {
    ("Config", "list of class names as vocabulary"): lambda folder: with_classes(["dog", "cat"], folder),
    ("Config", "vocabulary that is a list"): vocabulary("[dog, cat]"),
    ("Config", "vocabulary with a class that is one word"): vocabulary("classes: [dog, cat]"),
    ("Config", "vocabulary with a class named background"): vocabulary("classes: [{name: Background}, {name: dog}]"),
    ("Config", "vocabulary with two classes that have the same words"): vocabulary(
        "classes: [{name: dog}, {name: hound, words: dog}]"
    ),
    ("Config", "vocabulary with a key twice"): vocabulary("classes: [{name: cat}]\nclasses: [{name: dog}]"),
    ("Config", "vocabulary with aliases that expand exponentially"): vocabulary(BOMB),
    ("Config", "config with aliases that expand exponentially"): config(BOMB),
    ("Config", "interpolation of a key that the config does not set"): config("name: ${nope}"),
    ("Config", "interpolation of an environment variable that is not set"): config("name: ${oc.env:CLIPES_NOPE}"),
    ("Config", "interpolations that refer to each other"): config("name: ${store}\nstore: ${name}"),
    ("Config", "number of more than 300 digits"): config(f"name: mine\ncam: {{power: {'9' * 400}}}"),
    ("Config", "key that is null"): config("name: mine\nnull: 1"),
    ("Config", "config with thousands of nested lists"): config("name: " + "[" * 50_000),
}
