"""Readers of data sets, one file per format; no reader opens a photo."""
