"""kopf: thin handlers, the loop, status, Events, health."""
