"""What the user provides, opened and validated: configs, vocabularies, templates, photos, masks, data sets."""
