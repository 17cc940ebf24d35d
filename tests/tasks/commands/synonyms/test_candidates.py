import logging

import pytest
import wn
from support.small_wordnet import write_small_wordnet

from clipes.tasks.commands.synonyms.candidates import (
    background_request,
    check_lengths,
    class_request,
    read_words,
    scene_words,
)
from clipes.tasks.runs.words.request import Candidate
from clipes_core.config.run import parse_config
from clipes_core.config.section import LONGEST_TEXT
from clipes_core.errors import ConfigError, UsageError
from clipes_core.vocabulary import Vocabulary

CAR = {"name": "car", "words": "car motorcar", "synonyms": ["car", "motorcar"]}
VOCABULARY = Vocabulary.model_validate(
    {"classes": [CAR, {"name": "bird"}, {"name": "house", "aliases": ["barn"]}], "background_words": ["sky", "Sky "]}
)


@pytest.fixture
def small_wordnet(tmp_path, monkeypatch):
    monkeypatch.setattr(wn.config, "data_directory", write_small_wordnet(tmp_path / "wn"))


@pytest.fixture
def no_wordnet(tmp_path, monkeypatch):
    monkeypatch.setattr(wn.config, "data_directory", tmp_path / "none")


def words_of(request):
    return [(each.class_name, each.word, each.source) for each in request.candidates]


@pytest.mark.usefixtures("small_wordnet")
def test_candidates_come_from_all_sources_and_each_word_counts_once():
    found = class_request(VOCABULARY, ["car"], ["Auto", "van  line", "car"])
    current = [("car", word, "vocabulary") for word in ("car", "motorcar", "car motorcar")]
    assert words_of(found)[:5] == [*current, ("car", "Auto", "own list"), ("car", "van line", "own list")]
    assert words_of(found)[5:] == [("car", "railway car", "wordnet")]
    senses = {each.word: each.sense for each in found.candidates}
    assert senses["Auto"] == senses["motorcar"] == "a vehicle with four wheels and an engine"
    assert senses["van line"] == ""


@pytest.mark.usefixtures("small_wordnet")
def test_related_words_are_added_on_request():
    found = class_request(VOCABULARY, ["car"], [], related=True)
    assert Candidate("car", "motor vehicle", "wordnet", "a vehicle with an engine") in found.candidates


def test_without_wordnet_the_own_words_and_those_of_init_remain():
    found = class_request(VOCABULARY, ["bird", "car"], ["tern"], wordnet=False)
    assert words_of(found)[:3] == [
        ("bird", "bird", "vocabulary"),
        ("bird", "tern", "own list"),
        ("bird", "avian", "clipes"),
    ]
    assert ("car", "tern", "own list") in words_of(found)


@pytest.mark.usefixtures("no_wordnet")
def test_a_missing_wordnet_is_an_error_unless_there_are_own_words(caplog):
    with pytest.raises(ConfigError, match="WordNet is not on this machine"):
        class_request(VOCABULARY, ["bird"], [])
    with caplog.at_level(logging.WARNING):
        assert ("bird", "tern", "own list") in words_of(class_request(VOCABULARY, ["bird"], ["tern"]))
    assert "WordNet is not on this machine" in caplog.text


def test_a_class_needs_a_word_to_compare_with():
    with pytest.raises(
        UsageError, match=r"no word to compare with the current words of house\. Name words with --word"
    ):
        class_request(VOCABULARY, ["bird", "house"], [], wordnet=False)
    with pytest.raises(UsageError, match="name a class, or add --background; the classes are: car, bird, house"):
        class_request(VOCABULARY, [], ["tern"])


@pytest.mark.usefixtures("small_wordnet")
def test_a_class_that_wordnet_lacks_is_reported():
    with pytest.raises(UsageError, match="WordNet has no other word for house"):
        class_request(VOCABULARY, ["house"], [])


def test_background_words_are_those_of_the_vocabulary_and_of_clipes_without_words_of_classes():
    found = background_request(VOCABULARY, []).background
    assert found[0] == "sky"
    assert found.count("sky") == 1
    assert {"water", "railway platform"} <= set(found)
    assert not {"house", "Sky"} & set(found)


def test_own_background_words_replace_those_of_clipes(caplog):
    found = background_request(VOCABULARY, ["harbour", "old barn"])
    assert found.background == ("sky", "harbour")
    assert "left out, because they share a word with a class: old barn" in caplog.text


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("", "'': must not be blank"),
        (" \t ", "must not be blank; correct the word, or leave it out"),
        ("sea\x1b[31m", "must not contain control characters"),
        ("x" * (LONGEST_TEXT + 1), "at most 4096 characters"),
    ],
)
def test_own_words_that_no_class_can_have_are_refused(word, message):
    for request in (
        lambda own: class_request(VOCABULARY, ["car"], own, wordnet=False),
        lambda own: background_request(VOCABULARY, own),
    ):
        with pytest.raises(UsageError, match=f"--word or --words: .*{message}") as caught:
            request(["tern", word])
        assert "\n" not in str(caught.value)


def test_the_shipped_scenes_are_many_different_words():
    words = scene_words()
    assert 55 <= len(words) == len(set(words)) <= 80
    assert {"water", "keyboard", "sign"} <= set(words)


def test_a_file_of_words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("# mine\nsea  gull\n\n tern\nTern\n")
    assert read_words(str(path)) == ("sea gull", "tern")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no word; write one per line"),
        ("# nothing\n", "has no word"),
        (None, "this file of words does not exist"),
    ],
)
def test_an_unusable_file_of_words_is_reported(tmp_path, content, message):
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_words(str(path))


def test_words_that_are_too_long_are_reported_before_anything_starts():
    config = parse_config({"name": "a"})
    check_lengths(config, ["bird", "harbour wall"])
    with pytest.raises(UsageError, match=r"'tern tern .* has 8\d tokens in the template, .* at most 77: shorten it"):
        check_lengths(config, ["bird", " ".join(["tern"] * 80)])
