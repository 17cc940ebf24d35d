from clipes.tasks.machine import shipped_files


def test_shipped_files_exist():
    assert (shipped_files.CLASSES / "voc12.yaml").is_file()
    assert (shipped_files.CLIP_MODELS / "clipes-demo.safetensors").is_file()
    assert (shipped_files.MMSEG_CONFIGS / "demo.py").is_file()
    assert shipped_files.CANDIDATE_TEMPLATES.is_file()
