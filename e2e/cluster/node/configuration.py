"""The configuration files of the node's programs, as text: pure functions of addresses and folders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import yaml

PAUSE_IMAGE = "localhost/pd-operator-pause:1"
NODE_BRIDGE = "pdnode0"
POD_BRIDGE = "pdpods0"


@dataclass(frozen=True)
class Network:
    """One /16 of private addresses for the node: its first address is the node's own, x.y.1.0/24 is for pods."""

    range: IPv4Network

    @property
    def node(self) -> IPv4Address:
        return self.range.network_address + 1

    @property
    def pods(self) -> IPv4Network:
        return IPv4Network((self.range.network_address + 256, 24))


def choose_network(taken: list[IPv4Network]) -> Network:
    """The first /16 that overlaps nothing that this machine routes. Raises `LookupError` when all are taken."""
    for second in range(213, 253):
        candidate = IPv4Network(f"10.{second}.0.0/16")
        if not any(candidate.overlaps(other) for other in taken):
            return Network(candidate)
    raise LookupError("no free private /16 between 10.213.0.0 and 10.252.0.0 on this machine")


def containerd(state: Path, socket: Path, cni_plugins: Path, may_lower_oom_score: bool) -> str:
    """containerd's config.toml; all that it writes lies under `state`."""
    return f"""version = 2
root = "{state}/containerd/root"
state = "{state}/containerd/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
  address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE runc cannot lower the score, and every sandbox would die at its start.
  restrict_oom_score_adj = {str(not may_lower_oom_score).lower()}
  netns_mounts_under_state_dir = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_plugins}"
    conf_dir = "{state}/cni"
"""


def cni(state: Path, network: Network) -> str:
    """The pod network: a bridge, with addresses handed out from a folder under `state`."""
    bridge = {
        "type": "bridge",
        "bridge": POD_BRIDGE,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(state / "cni-addresses"),
            "ranges": [[{"subnet": str(network.pods)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": "0.4.0", "name": "pd-operator", "plugins": [bridge]}, indent=2)


def kubelet(
    state: Path, socket: Path, authority: Path, address: IPv4Address, ports: dict[str, int], resolver: Path
) -> str:
    document: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(address),
        "port": ports["kubelet"],
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{socket}",
        "cgroupDriver": "cgroupfs",  # there may be no systemd
        "failCgroupV1": False,
        "failSwapOn": False,
        "podLogsDir": str(state / "logs" / "pods"),
        "volumePluginDir": str(state / "kubelet" / "volume-plugins"),
        "makeIPTablesUtilChains": False,  # kube-proxy uses nftables; these chains would only be left behind
        "registerNode": True,
        "resolvConf": str(resolver),
        # On a workstation the disk is often nearly full: evict when it is really short, not at 10 %.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # images come from an archive and could not be pulled again
        "serializeImagePulls": False,
        "maxPods": 110,
        "nodeStatusUpdateFrequency": "5s",
        "shutdownGracePeriod": "0s",
    }
    return yaml.safe_dump(document, sort_keys=False)


def proxy(kubeconfig: Path, node: str, address: IPv4Address, network: Network, ports: dict[str, int]) -> str:
    document = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "hostnameOverride": node,
        "clusterCIDR": str(network.pods),
        "bindAddress": str(address),
        "healthzBindAddress": f"{address}:{ports['proxy_health']}",
        "metricsBindAddress": f"{address}:{ports['proxy_metrics']}",
        "nodePortAddresses": ["primary"],
        # The machine's own conntrack limits stay as they are.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    return yaml.safe_dump(document, sort_keys=False)
