"""The data of a training: photos, pseudo masks and confidences as samples."""
