"""The models of OpenCLIP: which of them clipes supports, how they are built, and the tokens and pixels that they read.

The modules of this package import torch and OpenCLIP, which takes seconds, only for models that need it.
"""
