"""The demo: generated scenes with truth and captions, and the training of a small CLIP on them."""
