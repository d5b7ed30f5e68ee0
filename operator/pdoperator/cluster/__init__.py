"""The API server: apply, patch, watch, lease, events."""
