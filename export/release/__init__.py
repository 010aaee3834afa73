"""What makes an export a version that servers can load."""
