import pytest
import wn
from support.small_wordnet import write_small_wordnet

from clipes.tasks.commands.synonyms.wordnet import WordNet
from clipes_core.errors import ConfigError

CAR = (("auto", "car", "motorcar"), "a vehicle with four wheels and an engine")
WAGON = (("car", "railway car"), "a vehicle that a locomotive pulls")


@pytest.fixture
def small_wordnet(tmp_path, monkeypatch):
    monkeypatch.setattr(wn.config, "data_directory", write_small_wordnet(tmp_path / "wn"))


def found(wordnet: WordNet, noun: str) -> list[tuple[tuple[str, ...], str]]:
    """Return the senses of a noun and their words in alphabetical order."""
    return sorted((tuple(sorted(sense.words)), sense.gloss) for sense in wordnet.senses(noun))


@pytest.mark.usefixtures("small_wordnet")
def test_all_senses_of_a_noun_are_found_but_no_names():
    assert found(WordNet(), "car") == [CAR, WAGON]


@pytest.mark.usefixtures("small_wordnet")
def test_related_senses_are_found_on_request():
    assert found(WordNet(related=True), "car") == [CAR, WAGON, (("motor vehicle",), "a vehicle with an engine")]


@pytest.mark.usefixtures("small_wordnet")
def test_two_words_in_one_are_found():
    assert found(WordNet(), "tvmonitor") == [(("television monitor", "tv monitor"), "a display")]


@pytest.mark.parametrize("noun", ["spoon", "", "x", "person with clothes,people,human"])
@pytest.mark.usefixtures("small_wordnet")
def test_other_texts_have_no_senses(noun):
    assert WordNet().senses(noun) == []


def test_a_missing_wordnet_is_reported_with_advice_and_not_created(tmp_path, monkeypatch):
    monkeypatch.setattr(wn.config, "data_directory", tmp_path / "none")
    with pytest.raises(ConfigError, match=r"WordNet is not on this machine .*wn download oewn:2024") as caught:
        WordNet()
    assert "WN_DATA_DIR" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "none").exists()


def test_a_database_without_english_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(wn.config, "data_directory", tmp_path / "empty")
    wn.lexicons()  # creates the database
    with pytest.raises(ConfigError, match="has no English WordNet"):
        WordNet()


def test_a_damaged_database_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(wn.config, "data_directory", tmp_path)
    (tmp_path / "wn.db").write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigError, match="cannot be read: file is not a database"):
        WordNet()
