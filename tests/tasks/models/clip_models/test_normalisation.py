import open_clip
import pytest

from clipes.tasks.models.clip_models.normalisation import Normalisation, tag_normalisation, usual_normalisation

SIGLIP = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("model", "tag", "expected"),
    [
        ("ViT-B-16-quickgelu", "openai", None),
        ("ViT-B-16-quickgelu", "metaclip_fullcc", None),
        ("ViT-L-14", "laion2b_s32b_b82k", SIGLIP),
        ("ViT-B-16-SigLIP", "webli", SIGLIP),
        ("ViT-L-14-CLIPA", "datacomp1b", Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
    ],
)
def test_the_normalisation_of_a_tag_is_that_of_open_clip(model, tag, expected):
    assert tag_normalisation(open_clip.get_pretrained_cfg(model, tag)) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("ViT-B-16-quickgelu", None),
        ("ViT-B-16-SigLIP", SIGLIP),
        ("ViT-SO400M-16-SigLIP2-512", SIGLIP),
        ("ViT-H-14-CLIPA", Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ("EVA01-g-14", None),
    ],
)
def test_a_file_is_normalised_as_all_tags_of_its_model_are(model, expected):
    assert usual_normalisation(model, open_clip.get_model_config(model)) == expected


def test_a_model_without_tags_is_normalised_as_openais():
    assert usual_normalisation("of my own", open_clip.get_model_config("ViT-B-16-SigLIP")) is None
