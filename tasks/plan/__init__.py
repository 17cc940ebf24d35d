"""What a stage is, its keys, what a shard still needs, and the job that a worker receives."""
