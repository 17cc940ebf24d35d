"""The text of configs and vocabularies: YAML, the values of --set, and interpolations."""
