"""Train the demo's small CLIP: python -m clipes.flows.demo_clip FOLDER. To resume, repeat the command."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from clipes.tasks.models.demo_clip_training import train_demo_clip
from clipes_core.errors import ClipesError


def main(
    folder: Annotated[
        Path, typer.Argument(help="Folder to which checkpoint.pt, log.txt and weights.safetensors are written.")
    ],
    seed: Annotated[int, typer.Option(help="Seed of scenes, captions, initial weights and patch dropout.")] = 0,
    samples: Annotated[int | None, typer.Option(min=1, help="Number of scenes to train on; default: 300000.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=1e-6, help="Peak learning rate; default: 0.002.")] = None,
    varied_templates: Annotated[
        bool,
        typer.Option("--varied-templates", help="Use the templates in differing frequency, reliability and scenes."),
    ] = False,
    image_from: Annotated[
        str | None,
        typer.Option(metavar="WEIGHTS", help="Weights from which the image network starts; default: random weights."),
    ] = None,
    checkpoint_every: Annotated[
        int, typer.Option(min=1, help="Number of steps from one checkpoint to the next.")
    ] = 200,
) -> None:
    """Train the demo's small CLIP on generated scenes, on the CPU. The training can be interrupted and resumed."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        given = {"seed": seed, "samples": samples, "learning_rate": learning_rate}
        settings = {key: value for key, value in given.items() if value is not None}
        print(train_demo_clip(folder, settings, varied_templates, image_from, checkpoint_every))
    except ClipesError as exc:
        typer.echo(f"clipes: {exc}", err=True)
        raise typer.Exit(2) from exc


if __name__ == "__main__":
    typer.run(main)
