"""Load the training data: photos with their pseudo masks and confidence maps."""
