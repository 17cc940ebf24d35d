"""The settings of a run, as frozen pydantic models."""
