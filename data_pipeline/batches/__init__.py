"""Batches of examples, cut out of timelines as they are read."""
