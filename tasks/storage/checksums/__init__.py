"""Checksums that clipes stores with its files, and with which it detects damage."""
