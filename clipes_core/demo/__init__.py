"""The demo: generated scenes with truth, and the training of a small CLIP on such scenes and captions."""
