"""Pictures for people: masks over photos, and which photos to show."""
