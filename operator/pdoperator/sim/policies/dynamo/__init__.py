"""NVIDIA's planner as a policy: `planner.py` runs in an environment of its own, the rest here."""
