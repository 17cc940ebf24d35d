"""What several stages put into columns, and read from them."""
