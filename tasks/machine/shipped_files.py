"""The folders and files of configs/ that ship with clipes, and the folders of installed packages."""

from importlib.util import find_spec
from pathlib import Path

# importlib.resources is not used, because it cannot open namespace folders of an editable installation
CONFIGS = Path(__file__).parents[2] / "configs"

CLASSES = CONFIGS / "classes"  # vocabularies
CLIP_MODELS = CONFIGS / "models"  # OpenCLIP configs of clipes's own CLIP networks, and their weights
PUBLISHED = CONFIGS / "published.yaml"  # the published numbers that runs are compared with
MMSEG_CONFIGS = CONFIGS / "mmseg"
CANDIDATE_TEMPLATES = CONFIGS / "prompts" / "candidates.txt"
INIT_TEMPLATES = CONFIGS / "init"  # what `clipes init` writes
INIT_NAMES, INIT_WORDS = INIT_TEMPLATES / "names.yaml", INIT_TEMPLATES / "words.yaml"
SCENE_WORDS = CONFIGS / "prompts" / "scenes.txt"


def package_folder(name: str) -> Path:
    """Return the folder of an installed package, without importing it.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the package {name} is not installed", name=name)
    return Path(next(iter(spec.submodule_search_locations)))
