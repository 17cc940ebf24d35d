"""Flows that rank words."""
