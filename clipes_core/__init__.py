"""The method of CLIP-ES as pure functions over arrays and tensors; no files, no Prefect."""
