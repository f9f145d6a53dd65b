"""What every model is and does, and what families of models share."""
