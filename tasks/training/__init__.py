"""How a segmenter is trained on pseudo masks."""
