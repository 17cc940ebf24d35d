"""The definition of a stage, the keys of its artifacts, the plan of a shard, and the job that a worker receives."""
