"""Ablations: the flow that runs the variants of a grid, and the plan of their runs."""
