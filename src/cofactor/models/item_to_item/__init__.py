"""Models that learn item-to-item weights from the whole matrix."""
