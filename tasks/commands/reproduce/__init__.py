"""The command `reproduce`: repeat the measurements of the paper, and compare the results with its numbers."""
