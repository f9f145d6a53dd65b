"""Models of what is seen together, or next, in a session."""
