"""The stages: load, call the core, write atomically, return a small record."""
