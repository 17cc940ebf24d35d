"""The commands that are not a run: export, predict, gc, doctor."""
