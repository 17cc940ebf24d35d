"""Network weights as files, read without executing what they contain."""
