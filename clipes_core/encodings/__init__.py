"""Encodings of masks in annotation formats: run lengths, brush RLE and polygons to export, and the outlines of COCO."""
