"""The models of OpenCLIP: which ones clipes supports, how it builds them, their weights, tokens and pixels.

The modules of this package import torch and OpenCLIP, which takes seconds, only for models that need it.
"""
