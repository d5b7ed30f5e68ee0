"""Routers and engines to an Observation."""
