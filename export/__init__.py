"""SavedModels that score raw ids and timestamps, and what writes, checks and tries them."""
