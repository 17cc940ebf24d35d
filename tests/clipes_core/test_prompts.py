import copy

import pytest
import torch
from numpy.testing import assert_allclose
from support import oracle

from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.models.clip_models.tokenizers import ClipTokenizer
from clipes_core.config.pseudo_masks import PromptsConfig
from clipes_core.errors import ConfigError, PromptError, WeightsError
from clipes_core.prompts import (
    Text,
    checked_tokens,
    chosen_words,
    sentences,
    text_feature,
    unknown_words,
    vocabulary_texts,
)
from clipes_core.vocabulary import Vocabulary

TOKENIZER = ClipTokenizer(77)
VOCABULARY = Vocabulary.model_validate(
    {
        "classes": [
            {"name": "bird", "words": "bird avian", "synonyms": ["bird", "avian"]},
            {"name": "dog"},
            {"name": "tv", "words": "tv screen"},
        ],
        "background_words": ["sky", "sea"],
    }
)
TEMPLATE = "a clean origami {}."


@pytest.fixture(scope="module")
def model(seeded_weights):
    return oracle.oracle_model(seeded_weights)


def texts_of(**prompts):
    return vocabulary_texts(VOCABULARY, PromptsConfig(**prompts))


BACKGROUND = (Text(0, "sky", ("sky",)), Text(0, "sea", ("sea",)))


def test_sentence_fusion_joins_the_synonyms_of_a_class_in_one_text():
    classes = (Text(1, "bird", ("bird avian",)), Text(2, "dog", ("dog",)), Text(3, "tv", ("tv screen",)))
    assert texts_of(fusion="sentence") == classes + BACKGROUND
    assert texts_of() == classes + BACKGROUND


def test_feature_fusion_gives_a_class_one_text_with_several_phrases():
    classes = (Text(1, "bird", ("bird", "avian")), Text(2, "dog", ("dog",)), Text(3, "tv", ("tv screen",)))
    assert texts_of(fusion="feature") == classes + BACKGROUND


def chosen(**prompts):
    config = PromptsConfig(**prompts)
    return vocabulary_texts(chosen_words(VOCABULARY, config), config)


def test_background_words_can_be_left_out():
    assert chosen(leave_out=["sea", "lake"]) == texts_of()[:-1]
    assert chosen_words(VOCABULARY, PromptsConfig()) == VOCABULARY
    with pytest.raises(ConfigError, match="leave_out: lake: the vocabulary has no such background words; it has: sky"):
        chosen(leave_out=["lake"])


def test_unknown_background_words_are_named_with_similar_words():
    def unknown(*words):
        return unknown_words(VOCABULARY, PromptsConfig(leave_out=words))

    assert unknown("sea", "sky") == unknown() == ()
    assert unknown("see", "sky", "lake") == ("see (did you mean sea?)", "lake")
    assert unknown("sea", "seas") == ("seas",)  # sea is left out already
    with pytest.raises(ConfigError, match=r"leave_out: see \(did you mean sea\?\): the vocabulary has no such"):
        chosen(leave_out=["see"])


def test_the_names_of_classes_can_replace_their_words_and_synonyms():
    classes = tuple(Text(place, name, (name,)) for place, name in enumerate(("bird", "dog", "tv"), start=1))
    assert chosen(names=True) == chosen(names=True, fusion="cam") == classes + BACKGROUND
    assert chosen(names=["bird"]) == (classes[0], *texts_of()[1:])
    assert chosen(names=False) == texts_of()
    with pytest.raises(
        ConfigError, match=r"prompts\.names: birds: the vocabulary has no such class; it has: bird, dog"
    ):
        chosen(names=["birds"])


def test_cam_fusion_gives_a_class_one_text_per_synonym():
    birds = (Text(1, "bird", ("bird",)), Text(1, "bird", ("avian",)))
    assert texts_of(fusion="cam") == (*birds, Text(2, "dog", ("dog",)), Text(3, "tv", ("tv screen",)), *BACKGROUND)


@pytest.mark.parametrize("fusion", ["sentence", "feature", "cam"])
def test_background_words_are_optional(fusion):
    assert texts_of(fusion=fusion, background=False) == texts_of(fusion=fusion)[:-2]


def test_the_voc_texts_equal_those_of_the_published_program():
    texts = vocabulary_texts(load_vocabulary("voc12"), PromptsConfig())
    words = [text.phrases[0] for text in texts]
    assert words == [*oracle.VOC_WORDS, *oracle.VOC_BACKGROUND_WORDS]
    assert [text.class_id for text in texts] == [*range(1, 21), *[0] * 25]


def test_sentences_are_the_templates_with_the_phrase_inserted():
    assert sentences("bird avian", ["a {}.", "{} of origami"]) == ["a bird avian.", "bird avian of origami"]
    assert sentences("{0} %s", ["a {}."]) == ["a {0} %s."]


@pytest.mark.parametrize("templates", [(TEMPLATE,), ("a {}.", "a rendering of a weird {}.", "{}")])
@pytest.mark.parametrize("phrases", [("dog",), ("person with clothes", "people", "human")])
def test_text_features_equal_those_of_the_oracle(model, phrases, templates):
    feature = text_feature(model, TOKENIZER, phrases, templates)
    assert feature.dtype == torch.float32
    assert not feature.requires_grad
    assert feature.norm().item() == pytest.approx(1)
    assert_allclose(feature, oracle.oracle_text_feature(model, phrases, templates), atol=2e-6)


def test_a_text_feature_averages_unit_vectors_over_templates_and_phrases(model):
    raw = {text: model.encode_text(TOKENIZER([text]))[0].detach() for text in ("a dog", "dogs", "a pup", "pups")}
    unit = {text: vector / vector.norm() for text, vector in raw.items()}
    dog, pup = unit["a dog"] + unit["dogs"], unit["a pup"] + unit["pups"]
    expected = dog / dog.norm() + pup / pup.norm()
    feature = text_feature(model, TOKENIZER, ["dog", "pup"], ["a {}", "{}s"])
    assert_allclose(feature, expected / expected.norm(), atol=1e-6)


def test_phrases_and_templates_change_the_feature(model):
    features = [
        text_feature(model, TOKENIZER, phrases, templates)
        for phrases in (["bird"], ["bird", "avian"])
        for templates in ([TEMPLATE], [TEMPLATE, "a {}."])
    ]
    off = torch.stack(features) @ torch.stack(features).T
    assert off.fill_diagonal_(0).max() < 0.999


def test_a_text_feature_that_is_not_finite_is_refused(model):
    damaged = copy.deepcopy(model)
    damaged.ln_final.weight.data[0] = torch.inf
    with pytest.raises(WeightsError, match=r"^the text feature of 'dog' contains NaN or infinity\. Likely causes: "):
        text_feature(damaged, TOKENIZER, ["dog"], ["a {}."])


def test_encoding_texts_does_not_change_the_network(model):
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    text_feature(model, TOKENIZER, ["dog"], [TEMPLATE])
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


def test_tokens_are_those_of_the_tokenizer():
    texts = ["a dog", "a clean origami bird avian."]
    assert torch.equal(checked_tokens(TOKENIZER, texts), TOKENIZER(texts))


def words(count):
    return " ".join(["dog"] * count)  # one token each, plus a start and an end token


@pytest.mark.parametrize("count", [0, 1, 74, 75])
def test_a_text_of_up_to_77_tokens_is_accepted(count):
    tokens = checked_tokens(TOKENIZER, [words(count)])
    assert tokens.shape == (1, 77)
    assert (tokens != 0).sum() == count + 2


@pytest.mark.parametrize("count", [76, 77, 200])
def test_a_text_of_more_than_77_tokens_is_refused(count):
    text = words(count)
    with pytest.raises(PromptError) as caught:
        checked_tokens(TOKENIZER, ["a cat", text])
    assert str(caught.value) == f"{text!r} has more than the 77 tokens that CLIP reads: shorten it"


def test_a_long_word_at_the_limit_is_counted_in_tokens():
    assert checked_tokens(TOKENIZER, [words(74) + "!"])[0, -2] != 0
    with pytest.raises(PromptError, match=r"dog dog!!!\?\?!' has more than the 77 tokens"):
        checked_tokens(TOKENIZER, [words(74) + "!!!??!"])
    with pytest.raises(PromptError, match="77 tokens"):
        checked_tokens(TOKENIZER, ["x1" * 38])


def test_the_limit_is_the_context_length_of_the_tokenizer():
    short = ClipTokenizer(5)
    assert checked_tokens(short, ["a big dog"]).shape == (1, 5)
    with pytest.raises(PromptError, match="'a very big dog' has more than the 5 tokens"):
        checked_tokens(short, ["a very big dog"])


def test_the_error_names_the_phrase_that_makes_a_sentence_too_long(model):
    with pytest.raises(PromptError, match=r"'a photo of dog .* dog\.' has more than the 77 tokens"):
        text_feature(model, TOKENIZER, ["dog", words(72)], ["{}", "a photo of {}."])
