"""Execution of shards: the runners, the scheduler, the Prefect task, and shards that several processes make."""
