"""The tiny network without batch statistics and dropout, which depend on the number of processes."""

_base_ = "tiny.py"

model = dict(
    backbone=dict(norm_cfg=dict(_delete_=True, type="GN", num_groups=4)),
    decode_head=dict(dropout_ratio=0),
    auxiliary_head=dict(dropout_ratio=0),
)
