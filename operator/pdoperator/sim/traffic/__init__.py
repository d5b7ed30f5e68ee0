"""Traces of requests: read from files, transformed, drawn at random, described. All of it seeded, none of it timed."""
