"""The masks of a run, written in formats that other programs read: one module per format, and the table of them."""
