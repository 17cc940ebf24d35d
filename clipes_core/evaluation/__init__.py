"""Predictions against true masks."""
