"""One run: prepared, recorded, scored, ranked."""
