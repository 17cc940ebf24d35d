"""The tiny network with a learning rate at which the training diverges."""

_base_ = "tiny.py"

optim_wrapper = dict(optimizer=dict(lr=1e9))
