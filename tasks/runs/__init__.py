"""One run: its preparation, its record, its scores, and its ranking of templates."""
