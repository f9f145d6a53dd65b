"""Models of repeat consumption: what a user takes again."""
