"""Readers of data sets, one module per format. No reader opens a photo."""
