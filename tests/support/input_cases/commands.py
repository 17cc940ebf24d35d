"""Bad configs and unusable lists of photos, with which the command exits with code 2."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Command:
    """A call of `clipes run` with the files that it reads.

    Attributes:
        arguments: arguments after `clipes run CONFIG`.
        config: content of the config file; None if the file does not exist.
        files: name -> content of each other file.
    """

    arguments: tuple[str, ...] = ()
    config: bytes | None = b"name: bad\ndataset: {root: .}\n"
    files: Mapping[str, bytes] = field(default_factory=dict)

    def write(self, folder: Path) -> list[str]:
        """Write the files, and return the arguments of the command `clipes`."""
        if self.config is not None:
            (folder / "run.yaml").write_bytes(self.config)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return ["run", "run.yaml", *self.arguments]


def setting(text: str) -> Command:
    """Return a command that sets a key of the config, given as KEY=VALUE."""
    return Command(("--set", text))


def listed(name: str, content: bytes | None, kind: str = "list") -> Command:
    """Return a command that reads a list of photos; `content` is None if the list does not exist."""
    overrides = (f"dataset.format={kind}", f"dataset.split={name}", "clip.pretrained=random:0")
    files = {} if content is None else {name: content}
    return Command(("--plan", *(word for text in overrides for word in ("--set", text))), files=files)


COMMANDS: dict[tuple[str, str], Command] = {
    ("Lists", "list without photos"): listed("l.csv", b"image,labels\n"),
    ("Lists", "missing list"): listed("l.csv", None),
    ("Lists", "list that is a device or a pipe"): listed("/dev/zero", None),
    ("Lists", "list that is not UTF-8"): listed("l.txt", "träd.jpg dog".encode("latin-1")),
    ("Lists", "CSV without the required columns"): listed("l.csv", b"file,class\na.jpg,dog\n"),
    ("Lists", "broken COCO file"): listed("l.json", b'{"images": [', "coco"),
    ("Config", "unknown key"): setting("cam.pover=2"),
    ("Config", "value of the wrong type"): setting("cam.power=two"),
    ("Config", "`--set` without a value"): setting("dataset.truth="),
    ("Config", "`--set` with text after a quoted value"): setting("""prompts.template="a {}." # best"""),
    ("Config", "run name that is not the name of a folder"): setting("name=../x"),
    ("Config", "number beyond the limit of a setting"): setting("dataset.max_side=1000000"),
    ("Config", "mistyped URI"): setting("store=s3:/bucket/store"),
    ("Config", "home folder that does not exist"): setting("dataset.truth=~nobody-here/masks"),
    ("Config", "template without {}"): setting("prompts.template=a photo."),
    ("Config", "template with two {}"): setting("prompts.template='{} and {}'"),
    ("Config", "YAML that is a list"): Command(config=b"- name: bad\n"),
    ("Config", "YAML that is one word"): Command(config=b"hello\n"),
    ("Config", "broken YAML"): Command(config=b"name: [bad\n"),
    ("Config", "YAML that would run a program"): Command(
        config=b"name: !!python/object/apply:os.system ['touch ran']\n"
    ),
    (
        "Config",
        "interpolation of an environment variable, unless its name starts with `CLIPES_` or it is harmless, "
        "such as `HOME`",
    ): setting("store=${oc.env:PATH}"),
    ("Config", "config that is not UTF-8"): Command(config="name: träd\n".encode("latin-1")),
    ("Config", "missing config"): Command(config=None),
    ("Config", "stage that does not exist"): Command(("--until", "mask")),
    ("Config", "vocabulary that does not exist"): setting("dataset.classes=voc13"),
    ("Config", "generated scenes with a different vocabulary"): Command(
        ("--plan", "--set", "dataset.format=scenes", "--set", "clip.pretrained=random:0")
    ),
}
