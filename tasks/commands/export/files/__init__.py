"""The files that accompany every export: the classes, the photos to check, and the manifest."""
