"""Sealed Parquet files: written one row group at a time, and read by ranges of bytes, all of which are verified."""
