"""The conversion of photos: turned upright, in RGB, and no larger than permitted."""
