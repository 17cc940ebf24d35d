"""Commands that look after the machine and the store."""
