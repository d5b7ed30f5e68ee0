"""What one engine can do. Pure."""
