"""Commands that make masks: from the data set to the masks and the segmenter."""
