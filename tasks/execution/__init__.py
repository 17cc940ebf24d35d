"""Execution of shards: the runners, the scheduler, the Prefect task, and the joint work of processes on one shard."""
