"""The table of an ablation: made from the metrics of its runs, and shown as text, Markdown, CSV and an HTML page."""
