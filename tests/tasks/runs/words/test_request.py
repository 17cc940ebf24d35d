import pytest

from clipes.tasks.inputs.datasets.listing import Listing
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.runs.words.request import Candidate, WordRequest, check_classes, check_shown, check_template
from clipes_core.config.run import parse_config
from clipes_core.errors import ConfigError, DatasetError
from clipes_core.vocabulary import Vocabulary

VOCABULARY = Vocabulary.model_validate({"classes": [{"name": "bird"}, {"name": "boat"}]})


def test_a_request_has_each_word_and_each_class_once():
    candidates = tuple(Candidate(name, word, "own list") for name in ("boat", "bird") for word in ("ship", "tern"))
    request = WordRequest(candidates, ("sea", "ship"))
    assert request.words == ("ship", "tern", "sea")
    assert request.classes == ("boat", "bird")


def test_known_classes_are_accepted():
    check_classes(VOCABULARY, ["boat", "bird"])


@pytest.mark.parametrize(
    ("name", "advice"), [("birds", "did you mean bird?"), ("cow", "the classes are: bird, boat$"), ("", "the classes")]
)
def test_an_unknown_class_is_reported_with_similar_classes(name, advice):
    with pytest.raises(ConfigError, match=f"no class '{name}'; {advice}"):
        check_classes(VOCABULARY, ["boat", name])


def test_a_ranking_of_words_needs_a_template():
    check_template(parse_config({"name": "a", "prompts": {"template": "a {}."}}))
    with pytest.raises(ConfigError, match=r"prompts.template is auto.*run clipes prompts"):
        check_template(parse_config({"name": "a", "prompts": {"template": "auto"}}))


def test_classes_without_photos_are_reported():
    listing = Listing((Photo("a", "/a.jpg", 1, "x", (2,)),), ())
    check_shown(listing, VOCABULARY, ["boat"])
    with pytest.raises(DatasetError, match="none of the 1 photos has the label bird,"):
        check_shown(listing, VOCABULARY, ["boat", "bird"])
