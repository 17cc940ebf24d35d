"""Columns that several stages write and read."""
