"""Define stages, compute the keys of their artifacts, plan their shards, and build the jobs that workers receive."""
