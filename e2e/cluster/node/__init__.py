"""A real single-node Kubernetes on this machine: control plane, kubelet, kube-proxy, containerd. Needs root, Linux."""
