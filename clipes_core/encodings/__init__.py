"""Encodings of binary masks that annotation formats use: run lengths, Label Studio's brush RLE, and polygons."""
