"""The segmenter's training: its data out of the artifacts, and its process."""
