"""The configuration of a run: frozen models whose defaults are the paper's values."""
