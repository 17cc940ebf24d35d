"""The stages of the pipeline. Each module defines a stage: its settings, its columns and its computation."""
