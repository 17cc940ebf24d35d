"""Rank words of classes and background words by CLIP's scores on photos with image-level labels."""
