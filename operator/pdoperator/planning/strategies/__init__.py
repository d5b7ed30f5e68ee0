"""Strategies: each a pure function of what is known to a size, by the name that the spec calls it. Pure."""
