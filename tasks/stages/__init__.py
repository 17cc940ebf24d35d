"""The stages of the pipeline. Each module has a stage's settings, columns and work."""
