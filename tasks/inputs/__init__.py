"""Read and check the user's input: configs, vocabularies, templates, photos, masks and data sets."""
