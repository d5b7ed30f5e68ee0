"""The demo: a cluster, the operator, a service, traffic, and a report of what happened."""
