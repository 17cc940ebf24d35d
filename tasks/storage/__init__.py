"""Storage under a URI: file systems, listings, Parquet files, artifacts and the files of runs."""
