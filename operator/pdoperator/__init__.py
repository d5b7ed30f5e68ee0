"""Kubernetes operator that serves LLMs with prefill and decode disaggregated."""
