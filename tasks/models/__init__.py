"""Files of network weights, which are read without executing any code in them."""
