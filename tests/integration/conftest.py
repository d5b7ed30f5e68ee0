"""One real API server for all integration tests of a session: etcd and kube-apiserver with our CRD.

`controllers` adds the controller-manager for those that need Deployments, garbage collection or service accounts; it
starts after the CRD is there, so that garbage collection knows it from its first second.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cluster.components import components
from cluster.controlplane import ControlPlane
from cluster.steps import Steps
from cluster.toolchain import ToolMissing
from integration.api_server import ApiServer
from integration.operators import LiveService
from pdoperator.api import names

REPOSITORY = Path(__file__).resolve().parents[2]
CRD = REPOSITORY / "crds" / f"{names.GROUP}_{names.PLURAL}.yaml"


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side, one API server serves all that need one."""
    for item in items:
        if isinstance(item, pytest.Function) and "api_server" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("api-server"))


@pytest.fixture(scope="session")
def api_server(
    tmp_path_factory: pytest.TempPathFactory, uncaptured: Callable[[], AbstractContextManager[None]]
) -> Iterator[ApiServer]:
    """etcd, kube-apiserver and our CRD."""
    try:
        with uncaptured():
            kubectl = components(["etcd", "kube-apiserver", "kubectl"], Steps())["kubectl"]
    except ToolMissing as reason:
        pytest.skip(f"no Kubernetes API server on this machine: {reason}")
    plane = _plane(tmp_path_factory.mktemp("api-server") / "plane", controllers=False)
    try:
        plane.up()
        server = ApiServer(plane.kubeconfig, kubectl)
        server.kubectl("create", "--validate=strict", "-f", str(CRD))
        server.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRD))
        yield server
    finally:
        plane.down()


@pytest.fixture(scope="session")
def controllers(api_server: ApiServer) -> ApiServer:
    """The same server with the controller-manager; `api_server` stops it."""
    plane = _plane(api_server.kubeconfig.parent, controllers=True)
    plane.up()
    return api_server


@pytest.fixture
def live_service(controllers: ApiServer, request: pytest.FixtureRequest) -> Iterator[LiveService]:
    """A service named after its test, not yet in the API server; deleted afterwards."""
    words = request.node.name.removeprefix("test_").replace("[", "-").replace("_", "-")
    service = LiveService(controllers, words.rstrip("]")[-30:].lstrip("-"))
    yield service
    controllers.kubectl("delete", "pdis", service.name, "--ignore-not-found", "--wait=false")


def _plane(folder: Path, *, controllers: bool) -> ControlPlane:
    return ControlPlane(
        folder, controllers=controllers, scheduler=False, with_parent=True, steps=Steps(io.StringIO())
    )
