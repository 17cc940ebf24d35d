"""Readers of the files that hold the labels of a data set, and the spelling of labels."""
