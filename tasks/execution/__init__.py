"""Execution of shards: the runners, the scheduler, the Prefect task and joint training."""
