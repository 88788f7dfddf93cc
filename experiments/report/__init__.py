"""The networks at the papers' degradations, by every metric."""
