"""Search the photos that a list names, and files with similar names."""
