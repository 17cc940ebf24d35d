"""The command line: one module per command, in a folder per group of commands."""
