"""The serving graph: from raw ids and timestamps to scores."""
