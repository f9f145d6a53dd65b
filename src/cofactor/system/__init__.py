"""What the machine grants and how files are written: nothing here knows recommender systems."""
