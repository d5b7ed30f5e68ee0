"""A cluster without root and without containers: a real control plane, and a small stand-in for the kubelet.

The stand-in runs each container as a local process and gives each pod a loopback address of its own. What it leaves
out: images (a container must have a `command`, found on PATH), volumes, init containers, exec and TCP probes, resource
limits (requests count in scheduling), Services (there is no proxy; endpoints may not be loopback addresses).
"""
