import math

import numpy as np
import pytest
import torch
from open_clip.model import CLIP

from clipes_core.demo.training import ClipTrainer, TrainingConfig, clip_loss, contrastive_loss, normalised

TINY = {
    "embed_dim": 8,
    "vision_cfg": {
        "layers": 2,
        "width": 16,
        "head_width": 8,
        "patch_size": 8,
        "image_size": 32,
        "output_tokens": True,
        "patch_dropout": 0.5,
    },
    "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1},
}


def tiny_trainer(**settings):
    torch.manual_seed(0)
    return ClipTrainer(CLIP(**TINY), TrainingConfig(batch=8, samples=800, **settings))


def bright_and_dark(rng, count=8):
    """Return bright pictures with one caption and dark pictures with another."""
    bright = torch.tensor(rng.permutation(count) % 2)
    images = (bright * 150)[:, None, None, None] + torch.tensor(rng.integers(0, 100, (count, 3, 32, 32)))
    captions = torch.zeros((count, 8), dtype=torch.int64)
    captions[:, 0], captions[:, 1], captions[:, 2] = 47, 3 + bright, 49  # the highest token is the end
    return images.to(torch.uint8), captions


def test_the_loss_at_even_odds_is_the_logarithm_of_the_number_of_choices():
    assert contrastive_loss(torch.zeros(4, 4), torch.arange(4)).item() == pytest.approx(math.log(4))


def test_the_loss_equals_one_worked_out_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    to_text = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 2
    to_image = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 2
    assert contrastive_loss(logits, torch.tensor([0, 1])).item() == pytest.approx((to_text + to_image) / 2)


def test_equal_captions_do_not_compete():
    """Give two of three images the same caption: the loss is as if both copies were correct."""
    logits = torch.tensor([[3.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    loss = contrastive_loss(logits, torch.tensor([0, 0, 1])).item()
    twice, once = 2 * math.exp(3), math.exp(3)
    to_text = -(2 * math.log(twice / (twice + 1)) + math.log(once / (once + 2))) / 3
    to_image = -(2 * math.log(once / (2 * once + 1)) + math.log(once / (once + 2))) / 3
    assert loss == pytest.approx((to_text + to_image) / 2, rel=1e-6)


def test_image_and_text_embeddings_learn():
    trainer = tiny_trainer()
    images, captions = bright_and_dark(np.random.default_rng(0))
    clip_loss(trainer.model, normalised(images), [captions]).backward()
    assert trainer.model.visual.class_embedding.grad.abs().sum() > 0
    assert trainer.model.visual.proj.grad.abs().sum() > 0
    assert trainer.model.logit_scale.grad is not None


def test_training_lowers_the_loss_and_separates_bright_from_dark():
    trainer, rng = tiny_trainer(learning_rate=3e-3), np.random.default_rng(0)
    losses = [trainer.train_step(images, [captions]) for images, captions in (bright_and_dark(rng) for _ in range(60))]
    assert trainer.step == 60
    # Two captions with four images each: an image determines its caption, but not the other way round.
    best = math.log(4) / 2
    assert np.mean(losses[:5]) > best + 0.2
    assert np.mean(losses[-5:]) < best + 0.1


def test_a_restored_trainer_continues_as_if_uninterrupted():
    batches = [bright_and_dark(np.random.default_rng(seed)) for seed in range(6)]

    def steps(trainer, some):
        losses = []
        for images, captions in some:
            torch.manual_seed(trainer.step)
            losses.append(trainer.train_step(images, [captions]))
        return losses

    whole = steps(tiny_trainer(), batches)
    first = tiny_trainer()
    steps(first, batches[:3])
    second = tiny_trainer()
    second.load_state_dict(first.state_dict())
    assert second.step == 3
    assert steps(second, batches[3:]) == pytest.approx(whole[3:], rel=1e-5)


def test_the_learning_rate_rises_then_falls_to_zero():
    config = TrainingConfig(samples=1000, batch=10, warmup=0.1, learning_rate=2.0)
    rates = [config.learning_rate_at(step) for step in range(config.steps)]
    assert config.steps == 100
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == pytest.approx(2.0)
    assert rates[55] == pytest.approx(1.0)
    assert rates[-1] < 0.01


def test_the_last_steps_see_all_patches():
    config = TrainingConfig(samples=1000, batch=10, patch_dropout=0.5, whole_share=0.2)
    assert [config.patch_dropout_at(step) for step in (0, 79, 80, 99)] == [0.5, 0.5, 0, 0]


def test_pixels_are_normalised_by_the_mean_and_deviation_of_clip():
    grey = normalised(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    assert grey[0, :, 0, 0].tolist() == pytest.approx(
        [(1 - 0.48145466) / 0.26862954, (1 - 0.4578275) / 0.26130258, (1 - 0.40821073) / 0.27577711]
    )
