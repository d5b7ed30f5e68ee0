"""Aggregated or disaggregated: what either takes, which it is now, and sizes from one to the other. Pure."""
