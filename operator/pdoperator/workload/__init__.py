"""A PDInferenceService to Kubernetes objects. Pure."""
