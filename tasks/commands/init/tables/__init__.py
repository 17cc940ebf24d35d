"""Read tables of labels in any dialect of CSV, and find out what their columns mean."""
