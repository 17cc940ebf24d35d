"""The input of the user, opened and validated: configs, vocabularies, templates, photos, masks, data sets."""
