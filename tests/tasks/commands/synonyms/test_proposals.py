import json
from dataclasses import replace

import pytest
import yaml

from clipes.tasks.commands.synonyms.proposals import (
    MOST_NEW,
    best_words,
    check_target,
    new_background_words,
    proposed_lines,
    proposed_vocabulary,
    ranking_json,
    write_vocabulary,
)
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.runs.words.ranking import ClassRanking, RankedCandidate, SeenWord, WordFindings
from clipes.tasks.runs.words.request import Candidate
from clipes_core.config.run import parse_config
from clipes_core.errors import UsageError
from clipes_core.vocabulary import Vocabulary
from clipes_core.words.background import Firing
from clipes_core.words.logits import FEW_PHOTOS
from clipes_core.words.synonyms import PhotoCounts, RankedWord

BIRD = {"name": "bird", "aliases": ["fowl"], "colour": [1, 2, 3]}
VOCABULARY = Vocabulary.model_validate({"classes": [BIRD, {"name": "cat: x"}], "background_words": ["sky", "no"]})
CONFIG = parse_config({"name": "mine-synonyms", "dataset": {"classes": "voc12"}})


def ranking(*words, current=("bird",)):
    """Return a ranking of words of the class bird, the best first."""
    ranked = [
        RankedCandidate(
            Candidate("bird", word, "vocabulary" if word in current else "wordnet"),
            RankedWord(rank, word, 0.5, 0.6, 0.1, 0.9, None),
        )
        for rank, word in enumerate(words, 1)
    ]
    return ClassRanking("bird", PhotoCounts(20, 30, 4), tuple(ranked))


def seen(word, share, known=False, photos=20):
    return SeenWord("bird", known, Firing(0, word, photos, 0.2, 0.1, share, 0.05, 0.01, ()), ())


@pytest.mark.parametrize(
    ("ranked", "best"),
    [
        (("bird", "tern", "gull"), ()),  # no word is better than a current one
        (("tern", "bird", "gull"), ("tern", "bird")),
        (("tern", "gull", "fowl", "hawk", "bird"), ("tern", "gull", "fowl")),
    ],
)
def test_the_best_words_end_at_the_best_current_word(ranked, best):
    assert best_words(ranking(*ranked)) == best


def test_few_photos_change_no_words():
    found = replace(ranking("tern", "bird"), photos=PhotoCounts(9, 30, 4))
    assert best_words(found) == ()


def test_words_of_other_meanings_are_not_proposed():
    def candidate(word, source, sense):
        return RankedCandidate(Candidate("bird", word, source, sense), RankedWord(1, word, 0.5, 0.6, 0.1, 0.9, None))

    ranked = (
        candidate("shuttlecock", "wordnet", "a ball for badminton"),
        candidate("fowl", "wordnet", "an animal with feathers"),
        candidate("bird", "vocabulary", "an animal with feathers"),
    )
    assert best_words(ClassRanking("bird", PhotoCounts(20, 30, 4), ranked)) == ("fowl", "bird")


def test_new_background_words_score_above_even_on_a_class():
    words = [seen("weak", 0.04), seen("sea", 0.1), seen("sand", 0.2), seen("sky", 0.5, known=True), seen("sea", 0.3)]
    assert new_background_words(words) == ("sea", "sand")
    assert len(new_background_words([seen(str(number), 0.5) for number in range(30)])) == MOST_NEW


def test_few_photos_add_no_background_words():
    few, enough = seen("sea", 0.5, photos=FEW_PHOTOS - 1), seen("sand", 0.2, photos=FEW_PHOTOS)
    assert new_background_words([few, enough]) == ("sand",)
    assert new_background_words([few, enough, seen("sea", 0.1)]) == ("sand", "sea")  # on the photos of another class


def test_the_proposed_lines_of_classes():
    assert proposed_lines(VOCABULARY, WordFindings((ranking("tern", "bird"),), ())) == [
        "  - {name: bird, words: tern bird, synonyms: [tern, bird], aliases: [fowl], colour: [1, 2, 3]}"
    ]
    assert proposed_lines(VOCABULARY, WordFindings((ranking("bird", "tern"),), ())) == [
        "  - {name: bird, aliases: [fowl], colour: [1, 2, 3]}"
    ]


def test_the_proposed_line_of_background_words():
    lines = proposed_lines(VOCABULARY, WordFindings((), (seen("sea", 0.1),)))
    assert lines == ["background_words: [sky, 'no', sea]"]


def test_a_written_vocabulary_is_read_as_proposed(tmp_path):
    found = WordFindings((ranking("tern", "bird"),), (seen("sea", 0.1),))
    path = tmp_path / "new.yaml"
    write_vocabulary(str(path), VOCABULARY, found, CONFIG)

    assert load_vocabulary(str(path)) == proposed_vocabulary(VOCABULARY, found)
    assert load_vocabulary(str(path)).classes[0].sentence_words == "tern bird"
    assert path.read_text().startswith("# The classes of voc12, with the words that `clipes synonyms` proposed")
    with pytest.raises(UsageError, match="exists already"):
        write_vocabulary(str(path), VOCABULARY, found, CONFIG)


def test_a_vocabulary_is_written_to_a_new_local_file(tmp_path):
    check_target(str(tmp_path / "new.yaml"))
    with pytest.raises(UsageError, match="is not a local path"):
        check_target("s3://bucket/new.yaml")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "nothing")
    with pytest.raises(UsageError, match="exists already; name a new file"):
        check_target(str(tmp_path / "link.yaml"))


def test_the_json_document():
    found = WordFindings((ranking("tern", "bird"),), (seen("sea", 0.1),))
    document = json.loads(ranking_json(VOCABULARY, found, "/store/runs/a"))
    assert document["run"] == "/store/runs/a"
    assert [each["word"] for each in document["synonyms"]] == ["tern", "bird"]
    assert document["background_words"][0]["share"] == 0.1
    assert document["never_fire"] == []
    assert yaml.safe_load(document["proposed_lines"][0])[0]["synonyms"] == ["tern", "bird"]
