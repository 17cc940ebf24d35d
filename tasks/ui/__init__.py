"""What terminal and Prefect UI show during a run: progress, a table per stage, the ranking of templates."""
