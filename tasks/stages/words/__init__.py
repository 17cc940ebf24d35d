"""The stages that score words on the photos of a data set."""
