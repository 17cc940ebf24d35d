"""The galleries and plots of a report."""
