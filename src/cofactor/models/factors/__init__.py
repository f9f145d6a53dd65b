"""Models whose scores are inner products of user and item vectors."""
