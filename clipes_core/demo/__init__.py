"""The demo: generated scenes with true masks and captions, and the training of a small CLIP on these scenes."""
