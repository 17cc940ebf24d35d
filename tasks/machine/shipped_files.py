"""The folders and files of configs/ that ship with this program."""

from pathlib import Path

# not importlib.resources, which cannot open namespace folders of an editable installation
CONFIGS = Path(__file__).parents[2] / "configs"

CLASSES = CONFIGS / "classes"  # vocabularies
CLIP_MODELS = CONFIGS / "models"  # OpenCLIP configs of the networks of this project, and their weights
MMSEG_CONFIGS = CONFIGS / "mmseg"
CANDIDATE_TEMPLATES = CONFIGS / "prompts" / "candidates.txt"
