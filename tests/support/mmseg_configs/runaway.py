"""The tiny network with a learning rate that no network bears."""

_base_ = "tiny.py"

optim_wrapper = dict(optimizer=dict(lr=1e9))
