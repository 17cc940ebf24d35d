import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import open_clip
import pytest
import torch
from support.hub_tokenizers import write_gemma, write_sentencepiece, write_wordpiece
from tokenizers import Tokenizer

from clipes.tasks.models.clip_models import tokenizers
from clipes.tasks.models.clip_models.tokenizers import ClipTokenizer, HubTokenizer, open_tokenizer, tokenizer_digest
from clipes_core.config.extras import TOKENIZERS
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.errors import PromptError, WeightsError
from clipes_core.prompts import checked_tokens

SIGLIP = {
    "context_length": 12,
    "vocab_size": 300,
    "hf_tokenizer_name": "someone/siglip",
    "tokenizer_kwargs": {"clean": "canonicalize"},
}
CLIPA = SIGLIP | {"tokenizer_kwargs": {"strip_sep_token": True}}


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    return write_sentencepiece(tmp_path_factory.mktemp("siglip"))


@pytest.fixture(scope="module")
def clipa(tmp_path_factory):
    return write_wordpiece(tmp_path_factory.mktemp("clipa"))


def opened(folder, text_cfg=SIGLIP):
    return open_tokenizer(ClipConfig(model="any", tokenizer=str(folder)), text_cfg)


def test_the_tokenizer_of_openai_is_that_of_open_clip():
    texts = ["a dog", "a clean origami bird avian."]
    tokenizer = open_tokenizer(ClipConfig(), {"context_length": 20})
    assert isinstance(tokenizer, ClipTokenizer)
    assert torch.equal(tokenizer(texts), open_clip.tokenize(texts, context_length=20))
    assert [tokenizer.count(text) for text in texts] == [4, 8]
    assert tokenizer_digest(ClipConfig(), {"context_length": 20}) is None


def test_tokens_end_with_the_end_token_and_are_padded(siglip):
    tokenizer, plain = opened(siglip), Tokenizer.from_file(str(siglip / "tokenizer.json"))
    assert isinstance(tokenizer, HubTokenizer)
    (row,) = tokenizer(["a dog"]).tolist()
    own = plain.encode("a dog").ids
    end = plain.token_to_id("</s>")
    assert own[-1] == end
    assert row == own + [end] * (12 - len(own))
    assert tokenizer.count("a dog") == len(own)
    assert tokenizer(["a dog", "cat"]).dtype == torch.int64


def test_texts_are_cleaned_as_open_clip_cleans_them(siglip):
    tokenizer = opened(siglip)
    assert torch.equal(tokenizer(["A  Dog!!"]), tokenizer(["a dog"]))
    as_it_is = opened(siglip, SIGLIP | {"tokenizer_kwargs": None})
    assert not torch.equal(as_it_is(["A dog!"]), as_it_is(["a dog"]))


def test_the_separator_of_clipa_becomes_0(clipa):
    plain = Tokenizer.from_file(str(clipa / "tokenizer.json"))
    own = plain.encode("a dog").ids
    assert own[-1] == plain.token_to_id("[SEP]") != 0
    expected = own[:-1] + [0] * (12 - len(own) + 1)
    assert opened(clipa, CLIPA)(["a dog"]).tolist() == [expected]


def test_a_tokenizer_may_pad_on_the_left(tmp_path):
    tokenizer = opened(write_sentencepiece(tmp_path, padding_side="left"))
    (row,) = tokenizer(["a dog"]).tolist()
    count = tokenizer.count("a dog")
    assert row[:-count] == [1] * (12 - count)


@pytest.mark.parametrize(
    ("config", "first", "last"),
    [
        ({}, [], []),  # those of tokenizer.json
        ({"add_bos_token": False, "add_eos_token": True}, [], [1]),
        ({"add_bos_token": True, "add_eos_token": True}, [2], [1]),
        ({"add_bos_token": False, "add_eos_token": False}, [], []),
    ],
)
def test_the_config_of_siglip_2_says_which_marks_a_text_gets(tmp_path, config, first, last):
    folder = write_gemma(tmp_path, **config)
    plain = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("a dog").ids
    expected = first + plain + last
    assert opened(folder)(["A dog!"]).tolist() == [[0] * (12 - len(expected)) + expected]


def test_siglip_2_pads_on_the_right_if_its_config_says_so(tmp_path):
    tokenizer = opened(write_gemma(tmp_path, padding_side="right"))
    assert tokenizer(["a dog"])[0, tokenizer.count("a dog") :].tolist() == [0] * (12 - tokenizer.count("a dog"))


def test_a_text_that_exactly_fills_the_context_is_accepted_and_a_longer_one_refused(siglip):
    tokenizer = opened(siglip)
    fitting = " ".join(["dog"] * 20)
    while tokenizer.count(fitting) > 12:
        fitting = fitting[:-1]
    assert tokenizer.count(fitting) == 12
    assert checked_tokens(tokenizer, [fitting])[0, -1] == 1  # the end token, which is the padding too
    with pytest.raises(PromptError, match="has more than the 12 tokens that CLIP reads: shorten it"):
        checked_tokens(tokenizer, ["a dog", fitting + " a dog"])


def test_padding_and_truncation_in_the_file_do_not_count(siglip, tmp_path):
    other = Tokenizer.from_file(str(siglip / "tokenizer.json"))
    other.enable_padding(length=64, pad_id=0)
    other.enable_truncation(max_length=3)
    other.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_bytes((siglip / "tokenizer_config.json").read_bytes())
    assert torch.equal(opened(tmp_path)(["a big red dog"]), opened(siglip)(["a big red dog"]))


def test_the_digest_changes_with_each_of_the_files(siglip, tmp_path):
    def digest(folder):
        return tokenizer_digest(ClipConfig(tokenizer=str(folder)), SIGLIP)

    own = digest(siglip)
    assert len(own) == 16
    words = write_sentencepiece(tmp_path / "words", seed_words=["zebra crossing"] * 50)
    padding = write_sentencepiece(tmp_path / "padding", pad_token="<pad>")
    assert len({own, digest(words), digest(padding)}) == 3
    assert digest(shutil.copytree(siglip, tmp_path / "same")) == own


@pytest.mark.parametrize("missing", [("tokenizer.json",), ("tokenizer_config.json",), tokenizers.FILES])
def test_a_folder_without_the_files_is_an_error(siglip, tmp_path, missing):
    for name in {*tokenizers.FILES} - {*missing}:
        (tmp_path / name).write_bytes((siglip / name).read_bytes())
    with pytest.raises(WeightsError) as caught:
        opened(tmp_path)
    assert str(caught.value) == (
        f"clip.tokenizer {tmp_path}: expected a folder with tokenizer.json and tokenizer_config.json, found no "
        f"{' and no '.join(missing)}; download them from the repository someone/siglip of the Hugging Face hub"
    )


@pytest.mark.parametrize("name", tokenizers.FILES)
@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe", b"version https://git-lfs.github.com/spec/v1"])
def test_a_damaged_file_is_an_error_in_one_line(siglip, tmp_path, name, content):
    for each in tokenizers.FILES:
        (tmp_path / each).write_bytes((siglip / each).read_bytes())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match="expected a tokenizer in the format of Hugging Face") as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pad", [None, "[none]", 3])
def test_a_tokenizer_without_a_known_padding_is_an_error(tmp_path, pad):
    folder = write_sentencepiece(tmp_path, pad_token=pad)
    with pytest.raises(
        WeightsError, match="expected a pad_token that the tokenizer knows, found " + re.escape(f"{pad};")
    ):
        opened(folder)


def test_a_token_that_the_network_does_not_know_is_an_error(siglip):
    tokenizer = opened(siglip, SIGLIP | {"vocab_size": 5})
    with pytest.raises(WeightsError, match=r"tokenizer.json: expected tokens below 5, .*found \d+ in 'a dog'; use the"):
        tokenizer(["a dog"])


def test_a_missing_package_is_named_with_the_command_that_installs_it(siglip, monkeypatch):
    monkeypatch.setattr(tokenizers, "TOKENIZERS", replace(TOKENIZERS, module="no_such_module"))
    with pytest.raises(WeightsError) as caught:
        opened(siglip)
    assert str(caught.value) == (
        "clip.model any: its tokenizer cannot be read: the package no_such_module is not installed; run pip install "
        "'clipes[tokenizers]', which needs 12 MB of disk space"
    )


PRINT_DIGEST = """
import json, sys
from clipes.tasks.models.clip_models.tokenizers import tokenizer_digest
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.errors import WeightsError
try:
    print(tokenizer_digest(ClipConfig(model="ViT-B-16-SigLIP"), json.loads(sys.argv[1])))
except WeightsError as exc:
    print(exc)
"""


def printed_digest(home):
    """Return what a process prints whose hub answers nobody, and whose cache of the hub is in a folder."""
    hub = {"HF_HOME": str(home), "HF_ENDPOINT": "http://127.0.0.1:9"}
    arguments = [sys.executable, "-c", PRINT_DIGEST, json.dumps(SIGLIP)]
    done = subprocess.run(arguments, env=os.environ | hub, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_tokenizer_that_cannot_be_downloaded_is_explained_in_one_line(tmp_path):
    printed = printed_digest(tmp_path)
    assert printed.startswith(
        "clip.model ViT-B-16-SigLIP: its tokenizer is missing: the file tokenizer.json of someone/siglip is not in the "
        f"cache {tmp_path}/hub, and cannot be downloaded from http://127.0.0.1:9 ("
    )
    assert printed.endswith(
        "): connect to the internet; or download tokenizer.json and tokenizer_config.json of someone/siglip into a "
        "folder on another machine, and add --set clip.tokenizer=FOLDER"
    )


def test_a_tokenizer_in_the_cache_of_the_hub_is_used_without_the_hub(siglip, tmp_path):
    repository = tmp_path / "hub" / "models--someone--siglip"
    snapshot = repository / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    for name in tokenizers.FILES:
        (snapshot / name).write_bytes((siglip / name).read_bytes())
    assert printed_digest(tmp_path) == tokenizer_digest(ClipConfig(tokenizer=str(siglip)), SIGLIP)
