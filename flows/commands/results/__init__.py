"""Commands that show and use the results of runs."""
