"""Recommender systems by matrix factorization, from a raw event log to ranked lists."""

__version__ = "0.1.0"
