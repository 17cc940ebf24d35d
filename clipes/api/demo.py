"""Generated photos, with which the Python functions can be tried without any file."""

from PIL import Image

from clipes.tasks.inputs.datasets.scenes import SCENE_SIZE, scene_seed
from clipes_core.demo.scenes import scene_of_seed


def demo_photo(number: int = 0) -> tuple[Image.Image, tuple[str, ...]]:
    """Generate a photo that the demo's CLIP can read. `clipes.Masker("scenes", model="demo")` knows its labels.

    Args:
        number: number of the photo in the demo's data set of seed 0, from 0.

    Returns:
        An RGB image, and the names of the classes that it shows.
    """
    scene = scene_of_seed(scene_seed(0, number), SCENE_SIZE)
    return Image.fromarray(scene.image_rgb), tuple(dict.fromkeys(each.name for each in scene.objects))
