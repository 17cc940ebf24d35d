"""Encode and decode columns that more than one stage uses."""
