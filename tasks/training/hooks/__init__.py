"""The hooks of MMEngine that a training runs with."""
