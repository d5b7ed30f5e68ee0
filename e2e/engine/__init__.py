"""Engines for demo and tests: real vLLM on a CPU, its models, and what compares it with the simulated engine."""
