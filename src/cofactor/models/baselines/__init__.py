"""Models that know nothing of the user: what every other one must beat."""
