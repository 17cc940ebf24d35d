"""The pipeline as Prefect flows, the command line, and the Prefect server that both use."""
