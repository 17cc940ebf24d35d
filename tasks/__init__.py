"""All code of clipes that touches files, processes or the network, such as the stages of the pipeline."""
