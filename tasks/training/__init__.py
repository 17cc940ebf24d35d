"""Train a segmenter on pseudo masks."""
