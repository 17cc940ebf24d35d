"""The commands other than runs: export, predict, gc, doctor."""
