"""Models of explicit ratings."""
