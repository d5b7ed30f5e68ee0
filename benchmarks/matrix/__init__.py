"""The matrix behind benchmarks/policies.py: traces, cells, rows kept on disk, pages."""
