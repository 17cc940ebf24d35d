"""The training data: photos, pseudo masks and confidence maps as samples."""
