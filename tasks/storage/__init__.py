"""Access files by URI: file systems, listings, Parquet files, artifacts, and the files of runs and users."""
