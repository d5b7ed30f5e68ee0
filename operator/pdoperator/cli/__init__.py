"""pdctl, also installed as kubectl-pd: sizing, break-even and what profiles there are."""
