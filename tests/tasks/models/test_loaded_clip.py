import subprocess
import sys

PROGRAM = """
import logging
import torch
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot, start_worker
from clipes.tasks.models.clip import weights_digest
from clipes.tasks.models.loaded_clip import loaded_backbone, loaded_clip, logit_scale
from clipes_core.config.pseudo_masks import ClipConfig

start_worker(WorkerSlot("cpu", 3), Counters(()).of_slot(), logging.INFO)
config = ClipConfig(model="clipes-demo", pretrained="clipes-demo")
digest = weights_digest(config)
backbone = loaded_backbone(config, digest, "bf16")

assert loaded_backbone(config, digest, "bf16") is backbone
assert loaded_clip(config, digest) is loaded_clip(config, digest)
assert loaded_clip.cache_info().misses == 1
assert torch.get_num_threads() == 3
assert not torch.backends.cudnn.allow_tf32
assert {tensor.dtype for tensor in loaded_clip(config, digest).model.parameters()} == {torch.float32}
print(round(logit_scale(loaded_clip(config, digest)), 1))
"""


def test_a_worker_loads_its_clip_once_and_sets_its_threads():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 1 < float(done.stdout) <= 100
