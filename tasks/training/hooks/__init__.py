"""MMEngine hooks that run during the training of a segmenter."""
