"""Whether a Prefect server can be used from this machine, and what to do if it cannot."""
