"""The record of a run: its files under <store>/runs/<name>, from its start to its end."""
