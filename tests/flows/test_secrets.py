"""Commands whose arguments or configs contain a password: they fail, and repeat the password nowhere."""

import pytest
from support.input_cases.photos import SECRET

URI = f"https://me:{SECRET}@127.0.0.1:9/a"
QUERY = f"https://127.0.0.1:9/a?access-token={SECRET}"
WITH_BLANK = f"s3://me:my {SECRET}@bucket/a"
MISTYPED = f"s3:/me:{SECRET}@bucket/a"
CONFIG = "name: r\ndataset: {root: /nowhere}\nclip: {pretrained: random:0}\n"


@pytest.mark.parametrize("uri", [URI, QUERY, WITH_BLANK, MISTYPED])
@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "{uri}"),
        ("run", "r.yaml", "--plan", "--store", "{uri}"),
        ("run", "r.yaml", "--plan", "--set", "dataset.root={uri}"),
        ("run", "r.yaml", "--plan", "--set", "cam.power={uri}"),
        ("run", "r.yaml", "--plan", "--set", "{uri}"),
        ("run", "r.yaml", "--plan", "--set", "dataset.reach=[{uri}]"),
        ("prompts", "r.yaml", "--templates", "{uri}"),
        ("status", "r", "--store", "{uri}"),
        ("report", "r", "--store", "{uri}"),
        ("export", "r", "--to", "masks", "--store", "{uri}"),
        ("predict", "r", "a.jpg", "--to", "masks", "--store", "{uri}"),
        ("gc", "--store", "{uri}"),
        ("doctor", "--store", "{uri}", "--pretrained", "random:0"),
        ("doctor", "--pretrained", "{uri}"),
        ("{uri}",),
        ("--{uri}",),
        ("run", "r.yaml", "{uri}"),
        ("run", "r.yaml", "other.yaml", "--plan", "{uri}"),
        ("run", "r.yaml", "--{uri}"),
        ("run", "r.yaml", "--plan={uri}"),
        ("run", "r.yaml", "--plan", "--until", "{uri}"),
        ("run", "r.yaml", "--plan", "--name", "{uri}"),
        ("status", "{uri}"),
        ("export", "r", "--to", "masks", "--format", "{uri}"),
        ("export", "r", "--to", "masks", "--ignore-below", "{uri}"),
        ("prompts", "r.yaml", "--miou-photos", "{uri}"),
        ("predict", "r", "a.jpg", "--to", "masks", "--device", "{uri}"),
        ("gc", "--older-than", "{uri}"),
        ("ui", "{uri}"),
    ],
    ids=" ".join,
)
def test_a_password_in_an_argument_is_not_repeated(clipes, uri, arguments):
    (clipes.folder / "r.yaml").write_text(CONFIG)
    done = clipes(*(argument.format(uri=uri) for argument in arguments))
    assert done.returncode in (1, 2)
    assert SECRET not in done.stdout + done.stderr
