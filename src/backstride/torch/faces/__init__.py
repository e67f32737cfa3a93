"""The ways in which one of the three operators is computed, and which of them is the fastest."""
