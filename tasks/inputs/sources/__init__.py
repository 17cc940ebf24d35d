"""Where photos and true masks are stored: find them, and read them as they were when they were listed."""
