"""Models of the nearest items or users."""
