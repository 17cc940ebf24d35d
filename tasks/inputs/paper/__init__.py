"""What is published about the method: its numbers, and the photos that they are measured on."""
