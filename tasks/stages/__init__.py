"""The stages of the pipeline. A module defines the settings, the columns and the computation of a stage."""
