"""The method of CLIP-ES as pure functions over arrays and tensors, without files or Prefect."""
