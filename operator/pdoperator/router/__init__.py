"""The data plane process around scheduling."""
