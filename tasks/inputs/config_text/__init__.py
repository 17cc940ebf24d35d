"""The parts of reading configs and vocabularies: YAML, the values of --set, interpolations, and paths."""
