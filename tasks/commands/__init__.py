"""The clipes commands that do not run the pipeline: export, predict, gc and doctor."""
