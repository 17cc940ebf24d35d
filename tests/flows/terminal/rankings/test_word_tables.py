import io

from support.run_contents import RUN

from clipes.flows.rankings.words import WordRanking
from clipes.flows.terminal.rankings.word_tables import print_word_ranking
from clipes.tasks.machine.terminal import TerminalConsole
from clipes.tasks.runs.record.recorder import RunSummary
from clipes.tasks.runs.words.ranking import ClassRanking, RankedCandidate, SeenWord, WordFindings
from clipes.tasks.runs.words.request import Candidate
from clipes_core.words.background import Firing
from clipes_core.words.synonyms import PhotoCounts, RankedWord


def printed(found, classes=()):
    console = TerminalConsole(io.StringIO())
    console.width = 120
    summary = RunSummary(RUN["name"], "/store/runs/a", 0, {"stages": {}})
    print_word_ranking(console, WordRanking(summary, found), classes, ["  - {name: bird}"], verified=False)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_the_words_of_a_class():
    sense = "a warm-blooded egg-laying vertebrate with feathers and with forelimbs that became wings"
    ranked = (
        RankedCandidate(Candidate("bird", "tern", "wordnet", sense), RankedWord(1, "tern", 0.5, 0.6, 0.1, 0.9, 0.0123)),
        RankedCandidate(Candidate("bird", "bird", "vocabulary"), RankedWord(2, "bird", 0.4, 0.4, None, None, None)),
    )
    lines = printed(WordFindings((ClassRanking("bird", PhotoCounts(9, 30, 4), ranked),), ()))
    assert lines[0] == (
        "bird: 9 photos with it (4 of them with other classes), 30 without; FEW PHOTOS, so the scores are uncertain"
    )
    assert lines[1] == "word with without margin AUC sharpness source sense"
    assert lines[2] == "tern 0.600 0.100 0.500 0.900 0.012 wordnet 1"
    assert lines[3] == "bird 0.400 0.400 vocabulary"
    assert lines[4] == f"sense 1: {sense}"
    assert "- {name: bird}" in lines
    assert "run run: /store/runs/a" in lines or f"run {RUN['name']}: /store/runs/a" in lines


def test_the_background_words_of_the_named_classes():
    def seen(name, place, word, fires, known=False):
        return SeenWord(name, known, Firing(place, word, 20, fires, 0.1, 0.2, 0.05, 0.01, (3,)), ("photo 3",))

    words = (
        seen("boat", 0, "water", 0.5, known=True),
        seen("boat", 0, "mud", 0.0),
        *(seen("cow", 1, f"grass {number}", 0.5) for number in range(11)),
        seen("cow", 1, "mud", 0.0),
    )
    lines = printed(WordFindings((), words))
    assert lines[0] == "boat: 20 photos, even part 0.050, 1 of 2 words fire"
    assert lines[2] == "water 50 % 10 % 0.200 0.010 yes photo 3"
    assert "cow: 20 photos, even part 0.050, 11 of 12 words fire, the first 10 are" in lines
    assert "words that fire on no photo: mud" in lines
    assert not any(line.startswith("boat") for line in printed(WordFindings((), words), ["cow"]))
    assert "dog: no photos" in printed(WordFindings((), words), ["cow", "dog"])


def test_a_class_on_which_no_word_fires_has_no_table():
    seen = SeenWord("boat", False, Firing(0, "mud", 20, 0.0, 0.1, 0.2, 0.05, None, ()), ())
    assert printed(WordFindings((), (seen,)))[0] == "boat: 20 photos, even part 0.050, 0 of 1 words fire"
