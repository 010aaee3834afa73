"""Serves an exported model: `python -m export.serve`."""
