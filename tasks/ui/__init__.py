"""What the Prefect UI shows of a run beside its task runs: progress, tables, scores, pictures, where the files are."""
