"""What a layout is, and what it finds in a folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from clipes.tasks.commands.init.doubts import Doubts
from clipes.tasks.commands.init.photo_folder import PhotoFolder


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo and its labels.

    Attributes:
        path: path relative to the folder.
        labels: labels as the data set spells them, unique, in order of first appearance; empty if it shows no object.
        truth: path of the true mask relative to the folder; empty if there is none.
    """

    path: str
    labels: tuple[str, ...] = ()
    truth: str = ""


@dataclass(frozen=True)
class Found:
    """What a layout finds in a folder.

    Attributes:
        layout: name of the layout.
        description: what was found, as the end of a line.
        photos: the photos to use.
        classes: names of the classes in the order of their ids; empty if the data set states no order.
        settings: settings of the section `dataset` with which clipes may read this data set as it is; empty if clipes
            needs a list. `root` and the path of a file in `split` are relative to the folder.
        evaluation: name of a split with true masks on which the segmenter can be scored; empty if there is none.
        doubts: what is uncertain.
    """

    layout: str
    description: str
    photos: tuple[LabelledPhoto, ...]
    classes: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    evaluation: str = ""
    doubts: Doubts = field(default_factory=Doubts)


@dataclass(frozen=True)
class Layout:
    """A layout of photos and labels.

    Attributes:
        name: value of the option --layout.
        contents: what the folder holds, for the help.
        recognise: returns what the layout finds in a folder; None if the folder has another layout.
    """

    name: str
    contents: str
    recognise: Callable[[PhotoFolder], Found | None]
