"""A stand-in for ``vllm serve`` with NixlConnector: the same HTTP surface and failures, latencies from a profile."""
