"""The report of a run: its HTML file, and its pages in the Prefect UI."""
