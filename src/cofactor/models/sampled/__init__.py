"""Factorizations trained on sampled negatives."""
