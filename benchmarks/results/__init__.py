"""Measure the method on the demo's scenes, and write docs/results.md. See `__main__.py`."""
