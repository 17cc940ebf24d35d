import io

from support.own_photos import write_photos

from clipes.flows.terminal.init_summary import print_initialised
from clipes.tasks.commands.init.writing import initialise
from clipes.tasks.machine.terminal import TerminalConsole


def summary_of(folder):
    console = TerminalConsole(io.StringIO(), soft_wrap=True)
    print_initialised(console, initialise(str(folder)))
    return console.file.getvalue().splitlines()


def test_the_summary_shows_what_was_found_doubted_and_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "pets", ["dog/1.jpg", "dog/2.png", "cat/1.jpg", "[b]x.jpg"])
    assert summary_of("pets") == [
        "found    one folder per class (2 classes)",
        "photos   3 of 4 (2 jpg, 1 png)",
        "classes  2: dog 2, cat 1",
        "training small_cpu: a light network for a processor and small sets; with a GPU, use deeplabv2_r101_voc12",
        "doubts",
        "  - photos outside the folders of the classes, which are left out: 1 ([b]x.jpg)",
        "wrote    pets.yaml, pets-classes.yaml, pets-photos.csv",
        "next     look at the background words in pets-classes.yaml, then: clipes check pets.yaml; "
        "clipes run pets.yaml",
    ]


def test_the_next_step_for_plain_photos_is_to_label_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "pets", ["1.jpg"])
    assert summary_of("pets")[-1] == (
        "next     name your classes in pets-classes.yaml, write the labels of the photos into pets-photos.csv"
    )
