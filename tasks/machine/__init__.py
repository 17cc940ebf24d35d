"""This host: its devices, processes, threads and log, and what a worker process knows about itself."""
