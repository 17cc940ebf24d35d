"""Scores of predictions against true masks."""
