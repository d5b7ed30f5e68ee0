"""The compiled inner loop of the simulator: requests through engines, event by event, between two control moments."""
