import pytest
from support.small_recipes import rejection


def loss(mu, weight=1.0, name="loss_cgl"):
    return {"type": "ConfidenceGuidedLoss", "mu": mu, "loss_weight": weight, "loss_name": name}


def test_a_head_gets_the_classes_and_loss_of_the_run(recipe_of_lines):
    head = recipe_of_lines('model["decode_head"].update(num_classes=21, out_channels=21, threshold=0.3)\n').model[
        "decode_head"
    ]
    assert head == {"type": "FCNHead", "num_classes": 9, "ignore_index": 255, "loss_decode": loss(0.95)}


def test_all_heads_keep_their_loss_weights(recipe_of_lines):
    model = recipe_of_lines(
        """
model["decode_head"] = [dict(type="FCNHead"), dict(type="OCRHead", loss_decode=dict(type="DiceLoss", loss_weight=0.5))]
model["auxiliary_head"] = [
    dict(type="FCNHead", loss_decode=dict(type="CrossEntropyLoss", loss_weight=0.4)),
    dict(type="FCNHead", loss_decode=[dict(type="CrossEntropyLoss", loss_weight=0.2), dict(type="DiceLoss")]),
]
"""
    ).model
    assert [head["loss_decode"] for head in model["decode_head"]] == [loss(0.95), loss(0.95, 0.5)]
    assert [head["loss_decode"] for head in model["auxiliary_head"]] == [loss(0.95, 0.4), loss(0.95, 0.2)]
    assert {head["num_classes"] for head in (*model["decode_head"], *model["auxiliary_head"])} == {9}


@pytest.mark.parametrize(
    ("train", "mu", "name", "ignore_below"),
    [
        ({}, 0.95, "loss_cgl", None),
        ({"mu": 0.7}, 0.7, "loss_cgl", None),
        ({"mu": "labels"}, 0.0, "loss_cgl", 0.95),
        ({"loss": "ce"}, 0.0, "loss_ce", None),
        ({"loss": "ce", "mu": 0.7}, 0.0, "loss_ce", None),
        ({"loss": "ce", "mu": "labels"}, 0.0, "loss_ce", None),
    ],
)
def test_confidence_is_used_in_the_loss_in_the_labels_or_not_at_all(recipe_of_lines, train, mu, name, ignore_below):
    recipe = recipe_of_lines(**train)
    assert recipe.model["decode_head"]["loss_decode"] == loss(mu, name=name)
    assert recipe.ignore_below == ignore_below


@pytest.mark.parametrize(
    ("lines", "init"),
    [
        ("", "none"),
        ('model["pretrained"] = "torchvision://resnet18"\n', "torchvision://resnet18"),
        (
            'model["backbone"]["init_cfg"] = dict(type="Pretrained", checkpoint="torchvision://resnet34")\n',
            "torchvision://resnet34",
        ),
        ('model["backbone"]["init_cfg"] = dict(type="Normal", layer="Conv2d")\n', "none"),
        ('model["backbone"]["init_cfg"] = [dict(type="Normal", layer="Conv2d")]\n', "none"),
    ],
)
def test_initial_weights_in_the_mmseg_config_are_the_default(recipe_of_lines, torchvision_home, lines, init):
    recipe = recipe_of_lines(lines, init=None)
    assert recipe.init == init
    assert "pretrained" not in recipe.model
    own = recipe.model["backbone"].get("init_cfg")
    assert own is None or "Pretrained" not in str(own)
    assert recipe_of_lines(lines, init="none").init == "none"


PART = "model['backbone']['part'] = dict(type='Part', pretrained='x', init_cfg={init_cfg})\n"
LOADED, DRAWN = "dict(type='Pretrained', checkpoint='y')", "dict(type='Normal', std=0.1)"


@pytest.mark.parametrize("init_cfg", [LOADED, f"[{DRAWN}, {LOADED}]", DRAWN])
def test_initial_weights_for_part_of_a_network_are_refused_or_removed(recipe_of_lines, init_cfg):
    lines = PART.format(init_cfg=init_cfg)
    message = rejection(recipe_of_lines, lines, init=None)
    assert "has initial weights (x) for a part of its network that is not the backbone. clipes cannot" in message
    drawn = {"type": "Normal", "std": 0.1}
    kept = {LOADED: {}, DRAWN: {"init_cfg": drawn}}.get(init_cfg, {"init_cfg": [drawn]})
    assert recipe_of_lines(lines).model["backbone"]["part"] == {"type": "Part", **kept}


def test_labels_are_padded_with_255(recipe_of_lines):
    assert recipe_of_lines().model["data_preprocessor"] == {"type": "SegDataPreProcessor", "seg_pad_val": 255}
    own = 'model["data_preprocessor"] = dict(type="SegDataPreProcessor", size=(8, 8), seg_pad_val=0)\n'
    assert recipe_of_lines(own).model["data_preprocessor"]["seg_pad_val"] == 255
