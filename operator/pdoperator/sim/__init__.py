"""Simulated engines and traffic."""
