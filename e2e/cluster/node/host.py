"""What the node changes on its machine outside its own folder, recorded before so that it can be put back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from cluster.node.configuration import NODE_BRIDGE, POD_BRIDGE
from cluster.processes import wait_until

_CAP_NET_ADMIN = 12
_CAP_SYS_ADMIN = 21
_CAP_SYS_RESOURCE = 24
# The first is ours; the kubelet sets the others.
_SYSCTLS = (
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
# Made by kubelet, containerd and the CNI library at fixed places, whatever their settings say.
_FOLDERS = (
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/containers",
    "/var/log/pods",
    "/run/containerd",
)
_CGROUPS = ("kubepods", "k8s.io")


def run(*command: str, check: bool = True, timeout_s: float = 60.0) -> str:
    """Standard output. With `check`, raises `RuntimeError` with the program's own words when it fails."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    if check and result.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])} failed: {result.stderr.strip()[-800:]}")
    return result.stdout


def may_lower_oom_score() -> bool:
    return _capable(_CAP_SYS_RESOURCE)


def may_administer() -> bool:
    """Whether mounts and networks may be changed, which root of an unprivileged container may not."""
    return _capable(_CAP_NET_ADMIN) and _capable(_CAP_SYS_ADMIN)


def _capable(capability: int) -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> capability & 1)


def resolver_file() -> Path:
    """The resolv.conf that pods can use: systemd-resolved's own points to loopback, which is another one in a pod."""
    behind_stub = Path("/run/systemd/resolve/resolv.conf")
    return behind_stub if behind_stub.exists() else Path("/etc/resolv.conf")


def routed_networks() -> list[IPv4Network]:
    """Every IPv4 network that this machine has a route to, the default route apart."""
    routes: list[dict[str, Any]] = json.loads(run("ip", "-j", "-4", "route", "show", "table", "all") or "[]")
    found = []
    for route in routes:
        destination = str(route.get("dst", "default"))
        if destination != "default":
            found.append(IPv4Network(destination, strict=False))
    return found


class Host:
    """The machine, as it was before (kept in `record`) and as `restore` leaves it."""

    def __init__(self, record: Path) -> None:
        self._record = record

    def remember(self) -> None:
        """Write down how things stand, once: a second bring-up must not take our own changes for the original."""
        if self._record.exists():
            return
        state = {
            "sysctls": {
                name: _sysctl(name).read_text().strip() for name in _SYSCTLS if _sysctl(name).exists()
            },
            "folders": [folder for folder in _FOLDERS if Path(folder).exists()],
            "tables": _nft_tables(),
            "links": [],
        }
        self._record.parent.mkdir(parents=True, exist_ok=True)
        self._record.write_text(json.dumps(state, indent=1))

    def forward(self) -> None:
        _sysctl("net/ipv4/ip_forward").write_text("1")

    def add_address(self, address: str) -> None:
        """A bridge of our own that holds the node's address; pods and control plane meet there."""
        if not Path(f"/sys/class/net/{NODE_BRIDGE}").exists():
            run("ip", "link", "add", NODE_BRIDGE, "type", "bridge")
        run("ip", "address", "replace", f"{address}/32", "dev", NODE_BRIDGE)
        run("ip", "link", "set", NODE_BRIDGE, "up")

    def link(self, path: Path, target: Path) -> None:
        """Make `target` known under the host path `path`, unless something is there already."""
        if path.is_symlink() and path.readlink() == target:
            return
        if path.exists() or path.is_symlink():
            raise RuntimeError(f"{path} exists and is not ours: move it away, the node needs that path")
        state = json.loads(self._record.read_text())
        made = [path, *(parent for parent in path.parents if not parent.exists())]
        state["links"] += [str(one) for one in made if str(one) not in state["links"]]
        self._record.write_text(json.dumps(state, indent=1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def restore(self) -> None:
        """Put everything back; safe to repeat after a failure half-way."""
        for bridge in (POD_BRIDGE, NODE_BRIDGE):
            run("ip", "link", "delete", bridge, check=False)
        if not self._record.exists():
            return
        before = json.loads(self._record.read_text())
        self._restore_packet_filter(before["tables"])
        self._restore_sysctls(before["sysctls"])
        for name in sorted(before["links"], key=len, reverse=True):
            _remove_link_or_empty_folder(Path(name))
        for name in _FOLDERS:
            if name not in before["folders"]:
                unmount_below(Path(name))
                shutil.rmtree(name, ignore_errors=True)
        _remove_cgroups(_CGROUPS)
        self._record.unlink()

    def _restore_packet_filter(self, tables_before: list[str]) -> None:
        for table in _nft_tables():
            if table not in tables_before:
                run("nft", "delete", "table", *table.split(), check=False)
        _remove_cni_chains()

    def _restore_sysctls(self, values: dict[str, str]) -> None:
        for name, value in values.items():
            if _sysctl(name).read_text().strip() != value:
                _sysctl(name).write_text(value)


def unmount_below(folder: Path) -> None:
    """Unmount everything at or below `folder`, innermost first."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    ours = [mount for mount in mounts if mount == str(folder) or mount.startswith(f"{folder}/")]
    for mount in sorted(ours, key=len, reverse=True):
        run("umount", "--lazy", mount, check=False)


def processes_with_argument(argument: str) -> list[int]:
    """Process ids whose command line has exactly this argument, such as the path of our own containerd's socket."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if argument.encode() in arguments:
            found.append(int(entry.name))
    return found


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name


def _nft_tables() -> list[str]:
    """`family name` of each table."""
    listed = run("nft", "list", "tables", check=False)
    return [line.removeprefix("table ").strip() for line in listed.splitlines() if line.startswith("table ")]


def _remove_cni_chains() -> None:
    """Masquerading chains of our pods, where the table was there before us (a Docker host, for one)."""
    rules = run("iptables-save", "-t", "nat", check=False).splitlines()
    mine = [line for line in rules if line.startswith("-A POSTROUTING") and '"pd-operator"' in line]
    for rule in mine:
        words = rule.replace('"', "").split()
        run("iptables", "-t", "nat", "-D", *words[1 : words.index("-m")], *_match(rule), check=False)
        chain = words[words.index("-j") + 1]
        run("iptables", "-t", "nat", "-F", chain, check=False)
        run("iptables", "-t", "nat", "-X", chain, check=False)


def _match(rule: str) -> list[str]:
    """The comment match and the jump of a rule that `iptables-save` printed."""
    comment = rule.partition("--comment ")[2].rpartition(" -j ")[0].strip('"').replace('\\"', '"')
    return ["-m", "comment", "--comment", comment, "-j", rule.rpartition(" -j ")[2]]


def _remove_link_or_empty_folder(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.is_dir() and not any(path.iterdir()):
        path.rmdir()


def _remove_cgroups(names: Iterable[str]) -> None:
    roots = [
        Path(line.split()[4])
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if " cgroup" in line
    ]
    for root in roots:
        for name in names:
            _remove_cgroup(root / name)


def _remove_cgroup(folder: Path) -> None:
    if not folder.exists():
        return
    below = [Path(name) for name, _, _ in os.walk(folder, topdown=False)]
    for one in below:
        # A cgroup stays busy for a moment after its last process is gone.
        wait_until(lambda one=one: _removed(one), 5.0)  # type: ignore[misc]


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
