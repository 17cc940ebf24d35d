"""A CAM refinement that a test adds to the table `REFINEMENTS`."""

import torch


def brightness(cams, attention, photo_rgb, config):
    """Weight each CAM by the brightness of the photo's patches, without attention."""
    assert attention is None
    rows, columns = (photo_rgb.shape[axis] // cams.shape[1 + axis] for axis in (0, 1))
    patches = photo_rgb.mean(axis=2).reshape(cams.shape[1], rows, cams.shape[2], columns).mean(axis=(1, 3)) / 255
    return cams * torch.from_numpy(patches).float().to(cams.device)


def undefined(cams, attention, photo_rgb, config):
    """Return NaN, as a division by zero does."""
    return cams * torch.nan
