"""Train the demo's small CLIP: python -m clipes.flows.demo_clip FOLDER. Interrupted, it goes on from its checkpoint."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from clipes.tasks.models.demo_clip_training import train_demo_clip
from clipes_core.errors import ClipesError


def main(
    folder: Annotated[Path, typer.Argument(help="For checkpoint.pt, log.txt and weights.safetensors.")],
    seed: Annotated[int, typer.Option(help="Of scenes, captions and initial weights.")] = 0,
    samples: Annotated[int | None, typer.Option(min=1, help="Scenes seen in all, instead of the usual number.")] = None,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps from checkpoint to checkpoint.")] = 200,
) -> None:
    """Train the demo's small CLIP on generated scenes, on the CPU; it may be interrupted at any time."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        print(train_demo_clip(folder, seed, samples, checkpoint_every))
    except ClipesError as exc:
        typer.echo(f"clipes: {exc}", err=True)
        raise typer.Exit(2) from exc


if __name__ == "__main__":
    typer.run(main)
