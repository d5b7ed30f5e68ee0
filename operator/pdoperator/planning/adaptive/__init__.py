"""Strategy Adaptive: the fleet follows the load at the start-up's horizon, the split the load of the moment. Pure."""
