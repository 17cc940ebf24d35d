"""The command `estimate`: measure a sample of a data set, and forecast the whole run."""
