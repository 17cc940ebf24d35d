"""The stages of the pipeline. Each module defines the settings that a stage reads, its columns and its work."""
