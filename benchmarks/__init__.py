"""Measures speed, and what others reach on the same data."""
