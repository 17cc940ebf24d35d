"""Ablations: grids of variants of a config, their runs, and the tables that compare them."""
