"""Measures speed, and what other libraries reach on the same data."""
