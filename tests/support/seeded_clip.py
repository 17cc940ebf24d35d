"""A small CLIP with random weights, with the architecture and spread of the weights of the golden outputs."""

from collections.abc import Iterator
from pathlib import Path

import torch

Parameter = tuple[str, tuple[int, ...], float, float]  # name, shape, mean and standard deviation

BLOCKS, WIDTH, PATCH, GRID = 12, 128, 16, 14
TEXT_BLOCKS, TEXT_WIDTH, CONTEXT, TOKENS = 2, 64, 77, 49408
EMBEDDING = 96
LOGIT_SCALE = 20.0


def write_seeded_clip(path: Path, seed: int = 23) -> Path:
    """Write a half-precision state dict in OpenAI's layout, with peaked attention and meaningless CAMs."""
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: mean + spread * torch.randn(shape, generator=generator) for name, shape, mean, spread in _parameters()
    }
    state["logit_scale"] = torch.tensor(LOGIT_SCALE).log()
    torch.save({name: tensor.half() for name, tensor in state.items()}, path)
    return path


def _parameters() -> Iterator[Parameter]:
    """Yield all parameters except `logit_scale`."""
    yield "positional_embedding", (CONTEXT, TEXT_WIDTH), 0, 0.01
    yield "text_projection", (TEXT_WIDTH, EMBEDDING), 0, TEXT_WIDTH**-0.5
    yield "token_embedding.weight", (TOKENS, TEXT_WIDTH), 0, 0.5
    yield from _norm("ln_final", TEXT_WIDTH, 0)
    yield from _blocks("transformer", TEXT_BLOCKS, TEXT_WIDTH, 0)
    yield "visual.class_embedding", (WIDTH,), 0, WIDTH**-0.5
    yield "visual.positional_embedding", (GRID**2 + 1, WIDTH), 0, WIDTH**-0.5
    yield "visual.proj", (WIDTH, EMBEDDING), 0, WIDTH**-0.5
    yield "visual.conv1.weight", (WIDTH, 3, PATCH, PATCH), 0, 0.02
    yield from _norm("visual.ln_pre", WIDTH, 0.17)
    yield from _norm("visual.ln_post", WIDTH, 0.17)
    yield from _blocks("visual.transformer", BLOCKS, WIDTH, 0.17)


def _blocks(tower: str, blocks: int, width: int, norm_spread: float) -> Iterator[Parameter]:
    for block in range(blocks):
        name = f"{tower}.resblocks.{block}"
        yield f"{name}.attn.in_proj_weight", (3 * width, width), 0, 0.13
        yield f"{name}.attn.in_proj_bias", (3 * width,), 0, 0.02
        yield f"{name}.attn.out_proj.weight", (width, width), 0, 0.05
        yield f"{name}.attn.out_proj.bias", (width,), 0, 0.02
        yield f"{name}.mlp.c_fc.weight", (4 * width, width), 0, 0.05
        yield f"{name}.mlp.c_fc.bias", (4 * width,), 0, 0.02
        yield f"{name}.mlp.c_proj.weight", (width, 4 * width), 0, 0.05 if tower == "transformer" else 0.025
        yield f"{name}.mlp.c_proj.bias", (width,), 0, 0.02
        yield from _norm(f"{name}.ln_1", width, norm_spread)
        yield from _norm(f"{name}.ln_2", width, norm_spread)


def _norm(name: str, width: int, spread: float) -> Iterator[Parameter]:
    yield f"{name}.weight", (width,), 1, spread
    yield f"{name}.bias", (width,), 0, spread / 9
