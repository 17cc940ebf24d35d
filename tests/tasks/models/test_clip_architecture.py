import json
import logging
from collections.abc import Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from support.small_resnets import resnet_architecture
from support.timm_networks import architecture_of

from clipes.tasks.inputs.config_text.architectures import MODEL_FOLDERS
from clipes.tasks.models.clip_architecture import fitting_architecture, named_architecture
from clipes.tasks.models.clip_models.building import build_without_memory
from clipes.tasks.models.state_dicts import StateDict
from clipes_core.errors import WeightsError

FILE = Path("clip.pt")
TINY = {  # no OpenCLIP network has these sizes
    "embed_dim": 48,
    "vision_cfg": {"image_size": 48, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 1},
}


def state_of(architecture: dict, openai: bool = False) -> StateDict:
    with torch.device("meta"):
        tensors = CLIP(**architecture).state_dict()
    return StateDict({name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}, openai)


@pytest.fixture(scope="module")
def tiny_names(tmp_path_factory) -> Iterator[tuple[str, str]]:
    """Add a network to the known models, with GELU and with QuickGELU, and return both names."""
    folder = tmp_path_factory.mktemp("configs")
    named = {**TINY, "embed_dim": 40}
    (folder / "tiny40.json").write_text(json.dumps(named))
    (folder / "tiny40-quickgelu.json").write_text(json.dumps({**named, "quick_gelu": True}))
    MODEL_FOLDERS.append(folder)
    yield "tiny40", "tiny40-quickgelu"
    MODEL_FOLDERS.remove(folder)


@pytest.mark.parametrize(
    "name", ["ViT-B-16", "ViT-B-16-quickgelu", "ViT-L-14-336", "ViT-H-14", "RN50", "RN101", "RN50x4"]
)
def test_a_named_architecture_is_that_of_open_clip(name):
    assert named_architecture(name) == open_clip.get_model_config(name)


@pytest.mark.parametrize("name", ["ViT-H-14-CLIPA", "ViT-H-14-worldwide", "ViT-B-16-SigLIP", "EVA01-g-14"])
def test_models_with_another_text_network_or_of_timm_have_an_architecture(name):
    assert named_architecture(name) == open_clip.get_model_config(name)


@pytest.mark.parametrize(("name", "similar"), [("ViT-B-61", "ViT-B-16"), ("RN5", "RN50"), ("siglip", "nllb-clip")])
def test_an_unknown_name_is_an_error_with_similar_names(name, similar):
    with pytest.raises(
        WeightsError,
        match=f"clip.model {name}: expected the name of a model of OpenCLIP, found no model of this name; set "
        f"clip.model to another name, such as .*{similar}",
    ):
        named_architecture(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("convnext_base", "its image network is not a plain ViT but timm's ConvNeXt"),
        ("coca_ViT-B-32", "it is a CoCa model"),
        ("xlm-roberta-base-ViT-B-32", "its text network xlm-roberta-base belongs to the transformers library"),
        ("EVA02-B-16", "its image network has rotary position embeddings"),
    ],
)
def test_other_models_are_refused_with_the_reason(name, reason):
    with pytest.raises(WeightsError) as caught:
        named_architecture(name)
    message = str(caught.value)
    assert message.startswith(f"clip.model {name}: clipes does not support this model, because {reason}")
    assert message.endswith("; set clip.model to a plain ViT or a ResNet, such as ViT-B-16-quickgelu or RN50-quickgelu")


def test_tensors_with_the_sizes_of_the_named_network_use_its_architecture(tiny_names):
    gelu, quick = tiny_names
    state = state_of(named_architecture(gelu))
    assert not fitting_architecture(state, gelu, FILE).get("quick_gelu", False)
    assert fitting_architecture(state, quick, FILE)["quick_gelu"]


def test_a_file_of_openai_has_quickgelu_for_any_name(tiny_names):
    gelu, _ = tiny_names
    state = state_of(named_architecture(gelu), openai=True)
    assert fitting_architecture(state, gelu, FILE)["quick_gelu"]


def test_unknown_sizes_are_used_instead_of_the_named_network(tiny_names, caplog):
    with caplog.at_level(logging.INFO):
        sizes = fitting_architecture(state_of(TINY), "ViT-B-16-quickgelu", FILE)
    assert sizes == {**TINY, "quick_gelu": True}
    assert caplog.record_tuples == [
        (
            "clipes.tasks.models.clip_architecture",
            logging.INFO,
            "clip.pt: clip.model ViT-B-16-quickgelu is ignored: the network gets its sizes from the file's tensors, "
            "and has QuickGELU",
        )
    ]


def test_using_quickgelu_for_a_name_with_gelu_is_logged_as_a_warning(caplog):
    fitting_architecture(state_of(TINY), "ViT-B-16", FILE)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_sizes_of_openai_networks_are_read_from_their_tensors():
    named = named_architecture("ViT-L-14-336-quickgelu")
    sizes = fitting_architecture(state_of(named, openai=True), "ViT-B-16-quickgelu", FILE)
    assert sizes == named


def test_tensors_of_another_named_network_are_refused(tiny_names):
    with pytest.raises(
        WeightsError,
        match=r"clip\.pt: expected the tensors of clip\.model ViT-B-16, found those of tiny40 or tiny40-quickgelu; set",
    ):
        fitting_architecture(state_of(named_architecture(tiny_names[0])), "ViT-B-16", FILE)


def test_heads_are_never_guessed_for_a_named_network():
    state = state_of(named_architecture("ViT-H-14"))  # 16 heads of 80 channels, not 20 of 64
    with pytest.raises(WeightsError, match=r"found those of ViT-H-14 or ViT-H-14-quickgelu; set clip.model"):
        fitting_architecture(state, "ViT-B-16", FILE)


def test_missing_unknown_and_misshapen_tensors_are_errors():
    state = state_of(TINY)
    del state.tensors["visual.ln_pre.weight"], state.tensors["visual.ln_pre.bias"]
    state.tensors["adapter.weight"] = torch.empty(1)
    state.tensors["ln_final.bias"] = torch.empty(7)
    with pytest.raises(
        WeightsError,
        match=r"layout: 2 missing \(such as visual\.ln_pre\.weight\), 1 unknown \(such as adapter\.weight\), "
        r"1 of another shape \(such as ln_final\.bias: \(7,\) instead of \(128,\)\); use a complete CLIP state dict",
    ):
        fitting_architecture(state, "ViT-B-16", FILE)


def test_a_vocabulary_smaller_than_the_tokenizer_is_an_error():
    state = state_of({**TINY, "text_cfg": {**TINY["text_cfg"], "vocab_size": 1000}})
    with pytest.raises(WeightsError, match=r"token_embedding\.weight: \(1000, 128\) instead of \(49408, 128\)"):
        fitting_architecture(state, "ViT-B-16", FILE)


def test_a_grid_that_is_not_square_is_an_error():
    state = state_of(TINY)
    state.tensors["visual.positional_embedding"] = torch.empty(1 + 3 * 2, 64)
    with pytest.raises(WeightsError, match=r"visual\.positional_embedding: \(7, 64\) instead of \(5, 64\)"):
        fitting_architecture(state, "ViT-B-16", FILE)


def test_a_network_without_blocks_is_an_error():
    state = state_of(TINY)
    for name in [name for name in state.tensors if name.startswith("visual.transformer")]:
        del state.tensors[name]
    with pytest.raises(WeightsError, match=r"layout: 12 missing \(such as visual\.transformer\.resblocks\.0"):
        fitting_architecture(state, "ViT-B-16", FILE)


def test_a_width_that_heads_do_not_divide_is_an_error():
    vision = {**TINY["vision_cfg"], "width": 96, "head_width": 32}
    with pytest.raises(WeightsError, match=r"multiples of 64, .* found 96 in the image network and 128 in the text"):
        fitting_architecture(state_of({**TINY, "vision_cfg": vision}), "ViT-B-16", FILE)


@pytest.mark.parametrize("name", ["RN50-quickgelu", "RN101-quickgelu", "RN50x4-quickgelu"])
def test_sizes_of_resnets_of_openai_are_read_from_their_tensors(name):
    named = named_architecture(name)
    assert fitting_architecture(state_of(named, openai=True), "RN50x16", FILE) == named


def test_the_sizes_of_an_unknown_resnet_are_read_from_its_tensors():
    unknown = resnet_architecture(layers=[1, 3, 2, 1], width=24, image_size=96)
    assert fitting_architecture(state_of(unknown), "RN50-quickgelu", FILE) == unknown


@pytest.mark.parametrize(
    ("found", "named", "message"),
    [
        ("RN50", "ViT-B-16", r"of a ViT for clip\.model ViT-B-16, found those of a ResNet; set .* RN50-quickgelu$"),
        ("ViT-B-32", "RN50", r"of a ResNet for clip\.model RN50, found those of a ViT; set .* ViT-B-16-quickgelu$"),
    ],
)
def test_a_file_of_openai_with_another_kind_of_image_network_is_refused(found, named, message):
    state = state_of(named_architecture(found), openai=True)
    with pytest.raises(WeightsError, match=r"^clip\.pt: expected the weights " + message):
        fitting_architecture(state, named, FILE)


def test_a_resnet_without_attention_pooling_is_refused():
    state = state_of(resnet_architecture())
    del state.tensors["visual.attnpool.positional_embedding"]
    with pytest.raises(WeightsError, match=r"it has no visual\.attnpool\.positional_embedding; found"):
        fitting_architecture(state, "RN50", FILE)


def test_a_resnet_without_a_stage_is_refused():
    state = state_of(resnet_architecture())
    for name in [name for name in state.tensors if name.startswith("visual.layer3")]:
        del state.tensors[name]
    with pytest.raises(WeightsError, match=r"layout: 20 missing \(such as visual\.layer3\.0\.conv1\.weight\)"):
        fitting_architecture(state, "RN50", FILE)


def test_weights_of_another_kind_of_network_are_refused():
    state = StateDict(dict(torch.nn.Linear(2, 2).state_dict()), openai=False)
    with pytest.raises(
        WeightsError,
        match=r"expected a CLIP with a ViT or a ResNet, but it has no visual\.conv1\.weight, .*found 2 tensors such",
    ):
        fitting_architecture(state, "ViT-B-16", FILE)


def test_an_empty_tensor_is_an_error():
    state = state_of(TINY)
    state.tensors["visual.conv1.weight"] = torch.empty(64, 3, 0, 0)
    with pytest.raises(WeightsError, match=r"ViT or a ResNet, but it has no visual\.conv1\.weight; found"):
        fitting_architecture(state, "ViT-B-16", FILE)


def test_only_its_own_tensors_fit_a_model_of_timm(timm_names):
    siglip, eva = timm_names
    assert fitting_architecture(timm_state(siglip), siglip, FILE) == named_architecture(siglip)
    with pytest.raises(
        WeightsError,
        match=rf"expected the tensors of clip.model {siglip}, found others: \d+ missing .*; set clip.model to the name",
    ):
        fitting_architecture(timm_state(eva), siglip, FILE)
    with pytest.raises(WeightsError, match=r"found others: those of a network of OpenAI; set clip\.model to the"):
        fitting_architecture(state_of(TINY, openai=True), siglip, FILE)


def test_tensors_of_timm_do_not_fit_a_model_of_openai(timm_names):
    with pytest.raises(
        WeightsError,
        match=r"it has no visual\.conv1\.weight, .* layout, and set clip\.model to the name of the network that was tr",
    ):
        fitting_architecture(timm_state(timm_names[0]), "ViT-B-16", FILE)


def timm_state(name):
    return StateDict(build_without_memory(named_architecture(name)).state_dict(), openai=False)


@pytest.fixture(scope="module")
def timm_names(tmp_path_factory) -> Iterator[tuple[str, str]]:
    """Add a SigLIP and an EVA01 to the known models, and return their names."""
    folder = tmp_path_factory.mktemp("timm")
    for network in ("siglip", "eva01"):
        (folder / f"tiny-{network}.json").write_text(json.dumps(architecture_of(network)))
    MODEL_FOLDERS.append(folder)
    yield "tiny-siglip", "tiny-eva01"
    MODEL_FOLDERS.remove(folder)
