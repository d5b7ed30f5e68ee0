"""Clusters for the demo, the end-to-end tests and the tests on a real API server.

`choice.choose` and `choice.make_cluster` give one of three kinds behind one Protocol, `choice.Cluster`;
`controlplane.control_plane` is the API server alone; `images.build_image` builds what they run.
"""
