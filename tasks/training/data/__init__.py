"""Photos, masks and confidences as the samples of a training."""
