"""The record of a run: its files under <store>/runs/<name>, written from its start to its end."""
