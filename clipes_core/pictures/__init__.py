"""The pictures of a report: CAMs and masks drawn over photos, and the choice of the photos to show."""
