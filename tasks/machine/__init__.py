"""This host: its devices, processes, threads and log, and the state of a worker process."""
