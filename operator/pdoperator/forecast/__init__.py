"""History to demand at a horizon. Pure."""
