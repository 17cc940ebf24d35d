"""CAM refinements that tests add to the table `REFINEMENTS`."""

import numpy as np
import torch


def brightness(cams, attention, photos_rgb, config):
    """Weight each CAM by the brightness of the patches of its photo, without attention."""
    assert attention is None
    return torch.from_numpy(np.stack([_weighted(*each) for each in zip(cams, photos_rgb, strict=True)]))


def _weighted(cam, photo_rgb):
    rows, columns = (photo_rgb.shape[axis] // cam.shape[axis] for axis in (0, 1))
    patches = photo_rgb.mean(axis=2).reshape(cam.shape[0], rows, cam.shape[1], columns).mean(axis=(1, 3)) / 255
    return cam * patches.astype(np.float32)


def undefined(cams, attention, photos_rgb, config):
    """Return NaN, as a division by zero does."""
    return torch.from_numpy(cams * np.float32("nan"))
