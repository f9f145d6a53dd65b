"""Measuring models and lists against held-out events."""
