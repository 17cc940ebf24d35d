from clipes.tasks.machine import shipped


def test_every_shipped_folder_holds_its_files():
    assert (shipped.CLASSES / "voc12.yaml").is_file()
    assert (shipped.CLIP_MODELS / "clipes-demo.safetensors").is_file()
    assert (shipped.MMSEG_CONFIGS / "demo.py").is_file()
    assert shipped.CANDIDATE_TEMPLATES.is_file()
