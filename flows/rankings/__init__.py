"""Flows that rank templates and words."""
