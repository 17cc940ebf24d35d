"""The stages and everything they need: they load, call the core, write atomically and return a small record."""
