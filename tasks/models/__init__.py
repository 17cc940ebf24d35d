"""Network weights as files, read without executing them."""
