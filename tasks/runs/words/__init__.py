"""The ranking of words of classes, and of background words, from the scores of all photos of a run."""
