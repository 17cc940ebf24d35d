from pathlib import Path

import pytest
from support.prepared import prepared
from support.small_runs import TINY_NETWORK

from clipes.tasks.plan.caching import REUSE_ALL, Reuse
from clipes.tasks.stages.segmenter import SEGMENTER, training_packages
from clipes.tasks.storage.layout import ArtifactKey
from clipes_core.errors import ConfigError


def test_a_network_that_cannot_be_built_is_reported_before_the_run_starts(six):
    network = six.folder / "own.py"
    network.write_text(f'_base_ = {str(TINY_NETWORK)!r}\nmodel = dict(decode_head=dict(type="FCN"))\n')
    training = {"train": {"enabled": True, "init": "none", "mmseg_config": str(network)}}
    with pytest.raises(ConfigError, match="its model has the type 'FCN', which is not registered in MMSegmentation"):
        prepared(six, "segmenter", **training)
    assert prepared(six, "masks", **training).photos == 6


COUNTING_HOOK = """
from pathlib import Path
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class CountsTrials(Hook):
    def __init__(self, log):
        with Path(log).open("a") as file:
            file.write("tried\\n")
"""


def test_a_training_is_tried_unless_a_segmenter_was_trained_with_the_same_settings(six, monkeypatch):
    log, network = six.folder / "log.txt", six.folder / "own.py"
    (six.folder / "counts_trials.py").write_text(COUNTING_HOOK)
    monkeypatch.syspath_prepend(six.folder)
    network.write_text(
        f'_base_ = {str(TINY_NETWORK)!r}\ncustom_imports = dict(imports="counts_trials")\n'
        f'custom_hooks = [dict(type="CountsTrials", log={str(log)!r})]\n'
    )

    def tried(reuse=REUSE_ALL, **train):
        """Return a prepared run, and whether its preparation has tried the training."""
        log.write_text("")
        train = {"enabled": True, "init": "none", "mmseg_config": str(network), **train}
        return prepared(six, "segmenter", reuse, train=train), bool(log.read_text())

    run, was_tried = tried()
    assert was_tried
    elsewhere = ArtifactKey(SEGMENTER.name, run.keys[SEGMENTER.name], 0, "0" * 16)  # trained on other photos
    with run.store.writer(elsewhere, SEGMENTER.schema, {"packages": "torch 1.0"}):
        pass
    assert tried()[1]
    with run.store.writer(elsewhere, SEGMENTER.schema, {"packages": training_packages()}):
        pass
    assert not tried()[1]
    assert tried(Reuse(fresh=True))[1]
    assert tried(seed=1)[1]
    Path(run.store.artifact_uri(elsewhere)).write_bytes(b"damaged")
    assert tried()[1]
