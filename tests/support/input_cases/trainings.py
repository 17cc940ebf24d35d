"""MMSegmentation configs that cannot train, read and tried inside this process, as `clipes run --plan` does."""

import logging
from pathlib import Path
from typing import Any

from support.input_cases.readers import Messages
from support.input_cases.seen import Seen
from support.small_recipes import recipe_of
from support.small_runs import TINY_NETWORK

from clipes.tasks.training.trial import try_recipe
from clipes_core.errors import ConfigError

CLASSES = 9
POOLED_HEAD = (
    'model = dict(decode_head=dict(_delete_=True, type="PSPHead", in_channels=16, in_index=1, channels=8, '
    'pool_scales=(1, 2), num_classes=21, norm_cfg=dict(type="BN")))'
)

# input -> lines that a working config is extended with
LINES: dict[str, str] = {
    "batch size of 0": "train_batch_size = 0",
    "batch size of -1": "train_dataloader = dict(batch_size=-1)",
    "batch size that is not a whole number": "train_batch_size = 2.5",
    "0 iterations": "train_cfg = dict(max_iters=0)",
    "gradients accumulated over 0 iterations": "optim_wrapper = dict(accumulative_counts=0)",
    "batch norm of one value": f"train_batch_size = 1\n{POOLED_HEAD}",
    "`sys.exit` in a config": "import sys\nsys.exit(0)",
    "`os._exit` in a config": "import os\nos._exit(0)",
    "config that raises an error of any type": "class Odd(BaseException):\n    pass\nraise Odd('odd')",
    "module that calls `sys.exit`": "custom_imports = dict(imports='clipes_that_exits')",
    "negative learning rate": "optim_wrapper = dict(optimizer=dict(lr=-0.1))",
    "learning rate that is not a number": "optim_wrapper = dict(optimizer=dict(lr=float('nan')))",
    "learning rate of 401 digits": "optim_wrapper = dict(optimizer=dict(lr=10**400))",
    "schedule with a negative learning rate": "param_scheduler = [dict(type='PolyLR', eta_min=-1.0, by_epoch=False)]",
    "schedule that begins after the last iteration": (
        "param_scheduler = [dict(type='PolyLR', begin=30, end=60, by_epoch=False)]"
    ),
    "crop of 0 pixels": "train_pipeline = [dict(type='RandomCrop', crop_size=(0, 0))]",
    "photos of a batch that differ in size": (
        "model = dict(data_preprocessor=dict(size=None))\n"
        "train_pipeline = [dict(type='RandomResize', scale=(64, 64), ratio_range=(0.5, 2.0))]"
    ),
    "loss that is infinite": "model = dict(decode_head=dict(loss_decode=dict(loss_weight=1e39)))",
}
SETTINGS: dict[str, dict[str, Any]] = {"checkpoints after the last iteration": {"checkpoint_every": 31}}
TRAININGS = [("Trainings", given) for given in (*LINES, *SETTINGS)]


def seen_of_training(folder: Path, given: str) -> Seen:
    """Read and try the config of a training, and return the error or the log as seen by a user."""
    (folder / "clipes_that_exits.py").write_text("import sys\nsys.exit(0)\n")
    path = folder / "own.py"
    path.write_text(f"_base_ = {str(TINY_NETWORK)!r}\n{LINES.get(given, '')}\n")
    messages = Messages()
    logging.getLogger("clipes").addHandler(messages)
    try:
        try_recipe(recipe_of(path, CLASSES, init="none", **SETTINGS.get(given, {})), CLASSES)
    except ConfigError as error:
        return Seen(exit_code=2, message=str(error))
    finally:
        logging.getLogger("clipes").removeHandler(messages)
    return Seen(message="\n".join(messages.lines))
