"""The output on the terminal and in the Prefect UI: progress, a table per stage, and the ranking of templates."""
