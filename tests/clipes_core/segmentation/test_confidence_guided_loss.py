import math
import multiprocessing

import pytest
import torch
import torch.nn.functional as F
from support import gloo_losses

from clipes_core.confidence import lowest_kept_level
from clipes_core.errors import ConfigError, ShapeError
from clipes_core.segmentation import ConfidenceGuidedLoss

IGNORED = 255


def loss_with(confidence, **settings) -> ConfidenceGuidedLoss:
    loss = ConfidenceGuidedLoss(**settings)
    loss.confidence = torch.as_tensor(confidence, dtype=torch.uint8)
    return loss


def random_batch(classes: int, dtype=torch.float32):
    draw = torch.Generator().manual_seed(classes)
    logits = torch.randn(2, classes, 7, 5, generator=draw).to(dtype)
    label = torch.randint(0, classes, (2, 7, 5), generator=draw)
    label[0, :2] = IGNORED
    confidence = torch.randint(200, 256, (2, 1, 7, 5), generator=draw, dtype=torch.uint8)
    return logits, label, confidence


def test_the_loss_equals_one_worked_out_by_hand():
    # One row of four pixels and two classes. Pixels 1, 2 and 4 are confident; the label of pixel 4 is ignored.
    logits = torch.tensor([[[[0.0, math.log(3), 9.0, 5.0]], [[0.0, 0.0, 0.0, 0.0]]]])
    label = torch.tensor([[[0, 0, 1, IGNORED]]])
    loss = loss_with([[[[243, 255, 242, 255]]]], mu=0.95)

    # -log(1/2) and -log(3/4)
    assert loss(logits, label, ignore_index=IGNORED).item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert loss.kept_fraction.item() == pytest.approx(2 / 3)


def test_class_weights_equal_those_worked_out_by_hand():
    logits = torch.tensor([[[[0.0, math.log(3)]], [[0.0, 0.0]]]])
    loss = loss_with([[[[255, 255]]]], class_weight=[1.0, 3.0], loss_weight=0.5)

    # classes 1 and 0: (3 log 2 + 1 log 4/3) / 4, halved
    expected = 0.5 * (3 * math.log(2) + math.log(4 / 3)) / 4
    assert loss(logits, torch.tensor([[[1, 0]]])).item() == pytest.approx(expected)


def test_pixel_weights_of_a_sampler_select_among_the_confident_pixels():
    logits = torch.tensor([[[[0.0, 7.0, math.log(3)]], [[0.0, 0.0, 0.0]]]])
    loss = loss_with([[[[255, 255, 0]]]])

    value = loss(logits, torch.tensor([[[0, 1, 0]]]), weight=torch.tensor([[[1.0, 0.0, 1.0]]]))

    assert value.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("classes", [2, 21, 81])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_cross_entropy_with_labels_below_mu_ignored(classes, weighted):
    logits, label, confidence = random_batch(classes)
    class_weight = torch.linspace(0.5, 2, classes) if weighted else None
    loss = loss_with(confidence, mu=0.9, class_weight=None if class_weight is None else class_weight.tolist())
    ours, plain = logits.clone().requires_grad_(), logits.clone().requires_grad_()

    value = loss(ours, label, ignore_index=IGNORED)
    masked = label.masked_fill(confidence[:, 0] < lowest_kept_level(0.9), IGNORED)
    expected = F.cross_entropy(plain, masked, weight=class_weight, ignore_index=IGNORED)

    assert 0 < loss.kept_fraction < 1
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*[torch.autograd.grad(each, x)[0] for each, x in ((value, ours), (expected, plain))])


def test_with_mu_zero_the_loss_is_cross_entropy_and_needs_no_confidence():
    logits, label, _ = random_batch(21)
    loss = ConfidenceGuidedLoss(mu=0)

    torch.testing.assert_close(loss(logits, label), F.cross_entropy(logits, label, ignore_index=IGNORED))
    assert loss.kept_fraction == 1


def test_the_gradient_equals_finite_differences():
    logits, label, confidence = random_batch(3, torch.float64)
    loss = loss_with(confidence, mu=0.9, class_weight=[1.0, 2.0, 0.5])

    assert torch.autograd.gradcheck(lambda x: loss(x, label), logits.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_loss_of_half_precision_logits_is_computed_in_float32(dtype):
    logits, label, confidence = random_batch(21, dtype)
    loss = loss_with(confidence, mu=0.9)
    half = logits.clone().requires_grad_()

    value = loss(half, label)
    value.backward()

    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(logits.float(), label))
    assert half.grad.dtype == dtype
    assert half.grad.abs().sum() > 0


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan, 1e38])
def test_logits_of_ignored_pixels_have_no_effect(bad):
    logits, label, confidence = random_batch(3)
    loss = loss_with(confidence, mu=0.9)
    left_out = (label == IGNORED) | (confidence[:, 0] < lowest_kept_level(0.9))
    spoilt = logits.masked_fill(left_out.unsqueeze(1), bad).requires_grad_()

    value = loss(spoilt, label)
    value.backward()

    torch.testing.assert_close(value, loss(logits, label))
    assert (spoilt.grad[left_out.unsqueeze(1).expand_as(spoilt)] == 0).all()
    assert spoilt.grad.isfinite().all()


@pytest.mark.parametrize(("level", "ignored"), [(0, False), (255, True)])
def test_a_batch_without_confident_pixels_has_zero_loss_and_gradient(level, ignored):
    logits = torch.full((1, 3, 2, 2), math.inf, requires_grad=True)
    label = torch.full((1, 2, 2), IGNORED if ignored else 1)
    loss = loss_with(torch.full((1, 1, 2, 2), level))

    value = loss(logits, label)
    value.backward()

    assert value == 0
    assert loss.kept_fraction == 0
    assert (logits.grad == 0).all()


def test_confidence_of_another_size_is_resized_like_nearest_neighbour_labels():
    confidence = torch.tensor([[0, 0, 0], [0, 255, 0], [0, 0, 0]], dtype=torch.uint8)
    loss = loss_with(confidence[None, None])

    loss(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.long))

    assert loss.kept_fraction == 1  # the centre


def test_the_loss_has_no_state_so_checkpoints_fit_any_loss():
    assert not ConfidenceGuidedLoss(class_weight=[1.0, 2.0]).state_dict()


def test_two_processes_have_the_gradient_of_one_process_with_both_halves(tmp_path):
    other = multiprocessing.get_context("spawn").Process(target=gloo_losses.share, args=(1, str(tmp_path)))
    other.start()
    gloo_losses.share(0, str(tmp_path))
    other.join(timeout=120)

    parts = zip(*[torch.load(tmp_path / f"{rank}.pt") for rank in range(2)], strict=True)
    for sure, halves in zip((True, False), parts, strict=True):
        whole, kept_fraction = gloo_losses.gradient(slice(0, 4), sure)
        averaged = torch.cat([gradient for gradient, _ in halves]) / 2
        torch.testing.assert_close(averaged, whole)
        assert [fraction for _, fraction in halves] == pytest.approx([kept_fraction] * 2)


def test_the_error_for_missing_confidence_says_what_to_add_to_the_config():
    logits, label, _ = random_batch(3)
    with pytest.raises(ConfigError, match=r"custom_hooks=.*ConfidenceHook.*PackConfidence"):
        ConfidenceGuidedLoss()(logits, label)


@pytest.mark.parametrize("mu", [-0.1, 1.1])
def test_rejects_a_threshold_outside_0_to_1(mu):
    with pytest.raises(ConfigError, match=r"in \[0, 1\]"):
        ConfidenceGuidedLoss(mu=mu)


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (1, 3, 2, 3), (2, 3, 2, 2), (1, 3, 4)])
def test_rejects_logits_whose_size_differs_from_the_labels(shape):
    with pytest.raises(ShapeError, match="out_channels"):
        ConfidenceGuidedLoss(mu=0)(torch.zeros(shape), torch.zeros(1, 2, 2, dtype=torch.long))


def test_rejects_the_confidence_of_another_batch():
    logits, label, confidence = random_batch(3)
    with pytest.raises(ShapeError, match="the confidence of 1 images, but the labels of 2"):
        loss_with(confidence[:1])(logits, label)
