"""Python imports this module at its start. On the nodes whose PYTHONPATH has this folder, clipes finds a CUDA GPU."""

from clipes.tasks.machine import devices

devices._accelerators = lambda: (("cuda:0",), ())
