"""Loading models whose image network comes from timm, and whose tokenizer comes from Hugging Face."""

import json
import shutil

import numpy as np
import open_clip.pretrained
import pytest
import safetensors.torch
import torch
from PIL import Image
from support.hub_tokenizers import write_sentencepiece
from support.timm_networks import architecture_of, timm_clip

import clipes
from clipes.tasks.commands.check.words import check_words
from clipes.tasks.inputs.config_text.architectures import MODEL_FOLDERS
from clipes.tasks.models.clip import load_clip, weights_digest
from clipes.tasks.models.clip_models.building import build_clip
from clipes.tasks.models.clip_models.tokenizers import HubTokenizer
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.config.run import parse_config
from clipes_core.errors import WeightsError
from clipes_core.vocabulary import Vocabulary

TEXT = {
    "context_length": 24,
    "vocab_size": 300,
    "hf_tokenizer_name": "someone/siglip",
    "tokenizer_kwargs": {"clean": "canonicalize"},
}
SIGLIP = architecture_of("siglip", text=TEXT)
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@pytest.fixture(scope="module", autouse=True)
def names(tmp_path_factory):
    """Add two models to the known ones, and weights of the one to those that OpenCLIP knows."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "tiny-siglip.json").write_text(json.dumps(SIGLIP))
    (folder / "tiny-eva01.json").write_text(json.dumps(architecture_of("eva01")))
    MODEL_FOLDERS.append(folder)
    entry = {"url": "", "hf_hub": "someone/siglip/", "mean": MEAN, "std": STD}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(open_clip.pretrained._PRETRAINED, "tiny-siglip", {"webli": entry})
        yield
    MODEL_FOLDERS.remove(folder)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return str(write_sentencepiece(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "siglip.safetensors"
    safetensors.torch.save_file(timm_clip("siglip", text=TEXT).state_dict(), path)
    return path


def settings(tokenizer, pretrained="random:0", **changes):
    return {"model": "tiny-siglip", "pretrained": str(pretrained), "tokenizer": tokenizer, **changes}


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_weights_are_loaded_as_by_open_clip(weights, tokenizer, tmp_path, suffix):
    state = safetensors.torch.load_file(weights)
    path = weights
    if suffix == "pt":
        path = tmp_path / "siglip.pt"
        one_element = {"logit_scale": state["logit_scale"].reshape(1), "logit_bias": state["logit_bias"].reshape(1)}
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in (state | one_element).items()}}, path)
    clip = load_clip(ClipConfig(**settings(tokenizer, path)))
    expected = build_clip(SIGLIP).eval()
    expected.load_state_dict(state)
    image = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    tokens = clip.tokenizer(["a dog", "a bird avian"])
    with torch.no_grad():
        assert torch.equal(clip.model.encode_image(image), expected.encode_image(image))
        assert torch.equal(clip.model.encode_text(tokens), expected.encode_text(tokens))
    assert isinstance(clip.tokenizer, HubTokenizer)
    assert tokens.shape == (2, 24)
    assert (clip.model.visual.image_mean, clip.model.visual.image_std) == (MEAN, STD)


def test_weights_of_another_model_are_refused(weights, tokenizer):
    with pytest.raises(WeightsError, match=r"expected the tensors of clip\.model tiny-eva01, found others: "):
        load_clip(ClipConfig(model="tiny-eva01", pretrained=str(weights)))


def test_a_model_of_timm_with_the_tokenizer_and_photos_of_openai_needs_nothing_else(tmp_path):
    path = tmp_path / "eva.pt"
    torch.save(timm_clip("eva01").state_dict(), path)
    clip = load_clip(ClipConfig(model="tiny-eva01", pretrained=str(path)))
    assert not hasattr(clip.model.visual, "image_mean")
    assert clip.tokenizer(["a dog"]).shape == (1, 77)


def test_the_digest_covers_weights_tokenizer_and_normalisation(weights, tokenizer, tmp_path, monkeypatch):
    def digest(**changes):
        config = ClipConfig(**settings(**{"tokenizer": tokenizer, "pretrained": weights} | changes))
        assert load_clip(config).digest == weights_digest(config)
        return weights_digest(config)

    own = digest()
    assert own == digest(tokenizer=str(shutil.copytree(tokenizer, tmp_path / "copy")))
    other = str(write_sentencepiece(tmp_path / "other", pad_token="<pad>"))
    found = [own, digest(tokenizer=other), digest(pretrained="random:0"), digest(pretrained="random:1")]
    entry = {"url": "", "hf_hub": "someone/siglip/", "mean": MEAN, "std": (0.25, 0.25, 0.25)}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-siglip", {"webli": entry})
    assert len({*found, digest()}) == 5


def test_a_siglip_makes_masks_with_attention_pooling(weights, tokenizer, scene_photos):
    clip = settings(tokenizer, weights, device="cpu")
    masker = clipes.Masker(classes=["dog", "cat"], clip=clip, cam={"attention_blocks": 2})
    path = min((scene_photos / "JPEGImages").glob("*.jpg"))
    made = masker(path, ["dog"])
    assert (masker.config.clip.pooling, masker.config.cam.refine) == ("attention", "caa")
    assert made.mask.shape == Image.open(path).size[::-1]
    assert {*np.unique(made.mask)} <= {0, 1}


def test_prompts_are_counted_in_the_tokens_of_the_model(tokenizer):
    words = {"classes": [{"name": "dog", "words": "dog " * 30}, {"name": "cat"}], "background_words": []}
    config = parse_config({"name": "a", "clip": settings(tokenizer), "prompts": {"template": "a {}."}})
    (finding,) = check_words(config, Vocabulary.model_validate(words))
    assert finding.works is False
    assert finding.detail.startswith("1 of 2 prompts have more than the 24 tokens that CLIP reads")
    tokens = load_clip(config.clip).tokenizer.count(f"a {'dog ' * 30}.")
    assert f"dog: {tokens} tokens in " in finding.detail
