"""Inspect a folder of photos, and write the run config, the vocabulary and the list that a run needs."""
