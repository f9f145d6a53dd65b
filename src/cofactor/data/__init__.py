"""From event logs to the matrices and sequences that models learn from; external ids end here."""
