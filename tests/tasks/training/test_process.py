import pytest
from support.small_runs import TINY_NETWORK
from support.small_trainings import training_work

from clipes_core.errors import StageError

OVERFLOWING = f"""
_base_ = {str(TINY_NETWORK)!r}
optim_wrapper = dict(optimizer=dict(lr=1e30, weight_decay=1e30))
"""


@pytest.mark.slow
def test_a_network_that_is_not_finite_after_its_last_iteration_is_not_written(small, pool, tmp_path):
    (tmp_path / "own.py").write_text(OVERFLOWING)
    train = {"mmseg_config": str(tmp_path / "own.py"), "iterations": 1, "checkpoint_every": 1, "validate_every": 0}
    with (
        training_work(small.prepared(train=train, evaluation={"split": None}), pool) as work,
        pytest.raises(StageError, match=r"^the trained network contains NaN or infinity: set train\.precision=fp32"),
    ):
        work.make(0)
