"""A CAM refinement that this repository does not ship; a test adds it to the table."""

import torch


def brightness(cams, attention, photo_rgb, config):
    """Weigh each CAM by the brightness of the photo's patches; reads no attention."""
    assert attention is None
    rows, columns = (photo_rgb.shape[axis] // cams.shape[1 + axis] for axis in (0, 1))
    patches = photo_rgb.mean(axis=2).reshape(cams.shape[1], rows, cams.shape[2], columns).mean(axis=(1, 3)) / 255
    return cams * torch.from_numpy(patches).float().to(cams.device)
