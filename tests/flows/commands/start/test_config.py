from pathlib import Path

from clipes.tasks.inputs.configs import load_config

CONFIG = "name: a-{date}\ndataset: {format: list, split: photos.csv}\ncam: {power: 1}\n"


def test_a_config_is_printed_with_what_differs_from_the_defaults(clipes):
    (clipes.folder / "run.yaml").write_text(CONFIG)
    done = clipes("config", "run.yaml", "--set", "cam.flip=true", "--store", "elsewhere")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "name: a-{date}",
        "store: elsewhere  # default: ./clipes-store",
        "dataset:",
        "  format: list  # default: voc",
        "  split: photos.csv  # default: train_aug",
        "cam:",
        "  power: 1  # default: 2",
        "  flip: true  # default: false",
    ]


def test_the_resolved_config_has_every_setting_and_is_a_config_again(clipes, monkeypatch):
    monkeypatch.chdir(clipes.folder)
    Path("run.yaml").write_text(CONFIG)
    Path("photos.csv").write_text("image,labels\n")
    done = clipes("config", "run.yaml", "--resolved")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"name: a-{{date}}\nstore: {clipes.folder}/clipes-store\n")
    Path("resolved.yaml").write_text(done.stdout)
    assert load_config("resolved.yaml") == load_config("run.yaml")


def test_without_a_config_the_command_says_what_it_needs(clipes):
    done = clipes("config")
    assert (done.returncode, done.stderr) == (
        2,
        "clipes: name a CONFIG, or add --reference for a page about all settings\n",
    )


def test_the_reference_is_the_page_in_the_docs(clipes, configs):
    assert clipes("config", "--reference").stdout == (configs.parent / "docs" / "config.md").read_text()
