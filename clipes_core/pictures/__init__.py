"""Pictures for reports: masks over photos, and the choice of photos to show."""
