"""Which engines serve this request. Pure."""
