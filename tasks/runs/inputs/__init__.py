"""The inputs of a run: they are checked and listed before the keys of the run are computed."""
