"""The command `check`: report everything about a config that can be known before a run spends time."""
