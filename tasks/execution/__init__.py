"""Who makes the shards: runners, scheduler, Prefect task, joint training."""
