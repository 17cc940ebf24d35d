"""Every model of OpenCLIP is either supported, or refused with a reason."""

import dataclasses
import re

import open_clip
import pytest

from clipes.tasks.models.clip_models.support import VISION_SWITCHES, unsupported

REFUSED = {
    r"its image network has rotary position embeddings": r"EVA02-[BL]-.*|PE-Core-.*",
    r"the blocks of its image network have another layout \(EvaBlockPostNorm of timm\)": r"EVA02-E-.*",
    r"its image network finds the patches with several convolutions": r"ViTamin-.*|MobileCLIP2?-B",
    r"its image network is not a plain ViT but timm's (ConvNeXt|FastVit|SwinTransformer|VisionTransformerRelPos)": (
        r"convnext_.*|MobileCLIP2?-S\d|swin_.*|vit_relpos_.*"
    ),
    r"it is a CoCa model, which pools the image with many queries for captions": r"coca_.*",
    r"its text network \S+ belongs to the transformers library, not to OpenCLIP": r"(xlm-)?roberta-.*|mt5-.*|nllb-.*",
}
SUPPORTED = {
    "ViT": r"ViT-[A-Za-z]+-\d+(-plus|-alt)?(-\d+)?(-quickgelu)?",  # OpenAI, LAION, DataComp, MetaCLIP, DFN
    "ResNet": r"RN\d+(x\d+)?(-quickgelu)?",
    "SigLIP": r"ViT-.*-SigLIP2?(-.*)?",
    "EVA01": r"EVA01-.*",
    "CLIPA": r"ViT-.*-CLIPA(-336)?",
    "MetaCLIP 2": r"ViT-.*-worldwide(-.*)?",
    "others": r"MobileCLIP2-L-14|vit_medium_patch16_gap_256",
}


@pytest.mark.slow
def test_every_model_of_open_clip_is_supported_or_refused_with_a_reason():
    reasons = {name: unsupported(open_clip.get_model_config(name)) for name in open_clip.list_models()}
    supported = {name for name, reason in reasons.items() if reason is None}
    assert supported == {name for name in reasons if re.fullmatch("|".join(SUPPORTED.values()), name)}
    for reason, names in REFUSED.items():
        expected = {name for name in reasons if re.fullmatch(names, name)}
        assert {name for name in reasons if re.fullmatch(reason, reasons[name] or "")} == expected
        assert expected


@pytest.mark.slow
def test_the_weights_of_openai_metaclip_and_dfn_belong_to_supported_models():
    families = re.compile(r"openai|metaclip.*|dfn.*|webli")
    names = {name for name, tag in open_clip.list_pretrained() if families.fullmatch(tag)}
    assert {name for name in names if unsupported(open_clip.get_model_config(name))} <= {
        name for name in names if name.startswith(("MobileCLIP", "PE-Core"))
    }


@pytest.mark.parametrize(
    ("switch", "reason"),
    [
        *VISION_SWITCHES.items(),
        ("attentional_pool", "its image embedding comes from OpenCLIP's attention pooling with many queries"),
    ],
)
def test_layers_that_openais_vit_does_not_have_are_refused(switch, reason):
    vision = {"image_size": 48, "layers": 2, "width": 64, "patch_size": 16}
    architecture = {"embed_dim": 48, "vision_cfg": vision | {switch: True}, "text_cfg": {"layers": 1}}
    assert switch in {field.name for field in dataclasses.fields(open_clip.CLIPVisionCfg)}
    assert unsupported(architecture) == reason
    assert unsupported(architecture | {"vision_cfg": vision}) is None
