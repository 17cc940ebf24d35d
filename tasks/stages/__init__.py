"""The stages: one file each, with the settings it reads, its columns and its work."""
