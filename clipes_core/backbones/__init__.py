"""CLIP's image networks: one module per kind. `kinds` lists the kinds and opens the right one."""
