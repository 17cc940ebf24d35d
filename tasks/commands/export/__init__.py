"""Export the masks of a run to formats that other programs read. Each format has its own module."""
