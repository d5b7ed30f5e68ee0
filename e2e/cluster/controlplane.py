"""A Kubernetes control plane as plain processes: etcd, API server, controller-manager, scheduler. Needs no root.

It listens on one address of this machine only; nothing of it can be reached from elsewhere.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from cluster.certificates import Authority
from cluster.components import components
from cluster.kubeconfig import Api, write_kubeconfig
from cluster.locks import locked
from cluster.processes import Processes, StartFailed, free_ports, port_free, wait_until
from cluster.steps import Steps

SERVICE_RANGE = "10.96.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
_START_LIMIT_S = 90.0
_ALL = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


@dataclass(frozen=True)
class Ports:
    etcd_client: int
    etcd_peer: int
    api: int
    controller_manager: int
    scheduler: int

    @staticmethod
    def kept_in(file: Path) -> Ports:
        """The ports of this state folder: chosen among free ones once, then kept, so that kubeconfigs stay valid."""
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(asdict(Ports(*free_ports(5)))))
        return Ports(**json.loads(file.read_text()))


class ControlPlane:
    """The control plane kept in `folder`. `controllers`: with the controller-manager; `scheduler`: with the scheduler.

    `address` must be one of this machine's; with another than loopback the `kubernetes` Service is served there.
    `with_parent`: everything is killed when the calling process ends, however that ends (for tests).
    """

    def __init__(
        self,
        folder: Path,
        *,
        controllers: bool = True,
        scheduler: bool = True,
        address: str = "127.0.0.1",
        with_parent: bool = False,
        steps: Steps | None = None,
    ) -> None:
        self.folder = folder
        self.address = address
        self.processes = Processes(folder)
        self.authority = Authority(folder / "pki")
        self._steps = steps or Steps()
        self._with_parent = with_parent
        wanted = {"kube-controller-manager": controllers, "kube-scheduler": scheduler}
        self.names = [name for name in _ALL if wanted.get(name, True)]

    @property
    def kubeconfig(self) -> Path:
        """A cluster administrator's."""
        return self.folder / "admin.kubeconfig"

    @cached_property
    def ports(self) -> Ports:
        return Ports.kept_in(self.folder / "ports.json")

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.ports.api}"

    @cached_property
    def api(self) -> Api:
        return Api(
            self.authority.certificate, self.authority.client("admin", "admin", "system:masters"), self.url
        )

    def up(self) -> None:
        """Start what does not run and wait until it is ready. Raises `StartFailed` with the tail of the log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "lock"):
            binaries = components(self.names, self._steps)
            with self._steps.step("start the control plane", 6):
                self._prepare()
                for name in self.names:
                    self._start(name, binaries[name])
                self._wait()

    def start(self, name: str) -> None:
        """Start one of `names` again after `stop`, and wait until the whole is ready."""
        self._start(name, components([name], self._steps)[name])
        self._wait()

    def stop(self, name: str) -> None:
        """Stop one of `names`; its data stays."""
        # A minute of open watches is not waited for: this is meant to be an outage.
        self.processes.stop(name, grace_s=3.0)

    def ready(self) -> bool:
        return all(self.processes.running(name) for name in self.names) and self.api.ready()

    def node_ready(self, node: str) -> bool:
        """Whether a node says so of itself; False while the API server does not answer."""
        try:
            status = self.api.get(f"/api/v1/nodes/{node}")["status"]
        except OSError:
            return False
        conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
        return conditions.get("Ready") == "True"

    def down(self) -> None:
        """Stop everything, wait until its ports are free, remove the folder. Does nothing where nothing is."""
        if not self.folder.exists():
            return
        with locked(self.folder / "lock"):
            for name in reversed(_ALL):
                self.processes.stop(name, grace_s=3.0)
            if not wait_until(self._ports_free, 20.0):
                raise StartFailed(f"the ports of {self.folder} are still in use: {self.ports}")
        shutil.rmtree(self.folder)

    def kubeconfig_for(self, name: str, user: str, group: str = "") -> Path:
        """A kubeconfig for another user, by client certificate."""
        client = self.authority.client(name, user, group)
        return write_kubeconfig(
            self.folder / f"{name}.kubeconfig", self.url, self.authority.certificate, client=client
        )

    def _prepare(self) -> None:
        authority = self.authority
        authority.create()
        hosts = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        authority.server("apiserver", hosts, sorted({"127.0.0.1", self.address, KUBERNETES_SERVICE}))
        authority.client("apiserver-kubelet", "apiserver-kubelet", "system:masters")
        self.kubeconfig_for("admin", "admin", "system:masters")
        self.kubeconfig_for("controller-manager", "system:kube-controller-manager")
        self.kubeconfig_for("scheduler", "system:kube-scheduler")

    def _start(self, name: str, binary: Path) -> None:
        arguments = {
            "etcd": self._etcd,
            "kube-apiserver": self._apiserver,
            "kube-controller-manager": self._controller_manager,
            "kube-scheduler": self._scheduler,
        }[name]()
        self.processes.start(name, [binary, *arguments], with_parent=self._with_parent)
        if name == "kube-apiserver":
            # The other two would otherwise start by failing, and wait before they try again.
            self.processes.wait_ready(name, self.api.ready, _START_LIMIT_S)

    def _wait(self) -> None:
        self.processes.wait_ready("kube-apiserver", self.api.ready, _START_LIMIT_S)
        if "kube-controller-manager" in self.names:
            # Without this account no pod of the default namespace is admitted.
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            self.processes.wait_ready(
                "kube-controller-manager", lambda: self.api.exists(account), _START_LIMIT_S
            )

    def _etcd(self) -> list[str]:
        client = f"http://127.0.0.1:{self.ports.etcd_client}"
        peer = f"http://127.0.0.1:{self.ports.etcd_peer}"
        return [
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # a cluster to throw away: what a power cut loses is not missed
            "--log-level=warn",
        ]

    def _apiserver(self) -> list[str]:
        pki = self.authority.folder
        on_loopback = self.address.startswith("127.")
        return [
            f"--etcd-servers=http://127.0.0.1:{self.ports.etcd_client}",
            f"--bind-address={self.address}",
            f"--secure-port={self.ports.api}",
            *([] if on_loopback else [f"--advertise-address={self.address}"]),
            # Endpoints may not be loopback addresses; elsewhere the one API server is the only endpoint.
            f"--endpoint-reconciler-type={'none' if on_loopback else 'master-count'}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--tls-cert-file={pki / 'apiserver.crt'}",
            f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--client-ca-file={self.authority.certificate}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki / 'service-accounts.pub'}",
            f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
            f"--kubelet-client-certificate={pki / 'apiserver-kubelet.crt'}",
            f"--kubelet-client-key={pki / 'apiserver-kubelet.key'}",
            "--kubelet-preferred-address-types=InternalIP",  # node names resolve nowhere
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--profiling=false",
            "--shutdown-delay-duration=0s",
        ]

    def _controller_manager(self) -> list[str]:
        pki = self.authority.folder
        return [
            f"--kubeconfig={self.folder / 'controller-manager.kubeconfig'}",
            f"--service-account-private-key-file={pki / 'service-accounts.key'}",
            f"--root-ca-file={self.authority.certificate}",
            "--use-service-account-credentials=true",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.ports.controller_manager}",
            "--leader-elect=false",  # there is one, and it should work from its first second
            "--profiling=false",
        ]

    def _scheduler(self) -> list[str]:
        return [
            f"--kubeconfig={self.folder / 'scheduler.kubeconfig'}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.ports.scheduler}",
            "--leader-elect=false",
            "--profiling=false",
        ]

    def _ports_free(self) -> bool:
        ports = asdict(self.ports)
        api = ports.pop("api")
        # An address that is gone with its bridge has no busy ports.
        return all(map(port_free, ports.values())) and (
            not self.address.startswith("127.") or port_free(api, self.address)
        )


@contextmanager
def control_plane(
    folder: Path, *, controllers: bool = True, scheduler: bool = False, steps: Steps | None = None
) -> Iterator[ControlPlane]:
    """A control plane for the length of the block, for tests; it does not outlive the calling process."""
    plane = ControlPlane(folder, controllers=controllers, scheduler=scheduler, with_parent=True, steps=steps)
    try:
        plane.up()
        yield plane
    finally:
        plane.down()
