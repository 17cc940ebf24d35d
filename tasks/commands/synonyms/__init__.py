"""Find words to rank for `clipes synonyms`, and write the best ones as lines of a vocabulary."""
