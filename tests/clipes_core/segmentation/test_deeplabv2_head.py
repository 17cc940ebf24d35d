import pytest
import torch
import torch.nn.functional as F

from clipes_core.segmentation import DeepLabV2Head

CROSS_ENTROPY = {"type": "CrossEntropyLoss", "avg_non_ignore": True}


def head(num_classes: int = 3, **settings) -> DeepLabV2Head:
    return DeepLabV2Head(in_channels=4, num_classes=num_classes, loss_decode=CROSS_ENTROPY, **settings)


@pytest.mark.parametrize("num_classes", [2, 21, 81])
def test_the_head_has_only_four_convolutions_with_bias(num_classes):
    parameters = dict(head(num_classes).named_parameters())

    assert sorted(parameters) == sorted(f"branches.{i}.{kind}" for i in range(4) for kind in ("weight", "bias"))
    assert sum(each.numel() for each in parameters.values()) == 4 * (4 * 9 * num_classes + num_classes)


def test_logits_are_the_sum_of_the_dilated_convolutions():
    ours = head(dilations=(1, 6))
    ours.init_weights()
    features = torch.randn(2, 4, 9, 7)

    expected = sum(
        F.conv2d(features, branch.weight, branch.bias, padding=dilation, dilation=dilation)
        for branch, dilation in zip(ours.branches, (1, 6), strict=True)
    )

    torch.testing.assert_close(ours([features]), expected)


def test_initial_weights_are_small_and_biases_are_zero():
    ours = head(num_classes=81)
    ours.init_weights()

    weights = torch.cat([branch.weight.flatten() for branch in ours.branches])
    assert weights.mean().item() == pytest.approx(0, abs=5e-4)
    assert weights.std().item() == pytest.approx(0.01, rel=0.05)
    assert all((branch.bias == 0).all() for branch in ours.branches)


def test_in_index_selects_the_backbone_stage():
    stages = [torch.zeros(1, 4, 8, 8), torch.zeros(1, 9, 4, 4)]
    assert head(in_index=0)(stages).shape == (1, 3, 8, 8)
