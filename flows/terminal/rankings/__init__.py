"""Print the rankings of templates and words."""
