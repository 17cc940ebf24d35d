"""The pictures of a report: the choice of photos, and CAMs and masks drawn over them."""
