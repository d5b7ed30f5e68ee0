"""`pd-router` as a process: it follows a real API server, outlives its absence, and leaves in good order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientError, ClientSession

from integration.api_server import ApiServer
from pdoperator.api import names
from pdoperator.api.names import Role, State
from pdoperator.api.router_config import RouterConfig
from router.conftest import CONFIG
from router.fake_engine import FakeEngine

ENGINES = {"p": ("127.71.0.1", Role.PREFILL), "d": ("127.71.0.2", Role.DECODE)}


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class Line:
    """A TCP line to the API server that can be cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self.port = free_port()

    async def connect(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Refuse new connections and end the present ones."""
        assert self._server is not None
        self._server.close()
        for end in self._ends:
            end.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ends = {writer, far_writer}
        self._ends |= ends
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        self._ends -= ends


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
    writer.close()


class Service:
    """One service's pods and ConfigMap in the API server, and a router that follows them."""

    def __init__(self, api: ApiServer, line: Line, client: ClientSession, engine_port: int) -> None:
        self.api = api
        self.line = line
        self.namespace = f"router-{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._client = client
        self._engine_port = engine_port
        api.kubectl("create", "namespace", self.namespace)
        # Where no controller-manager runs beside this server nobody else makes it.
        api.try_kubectl("-n", self.namespace, "create", "serviceaccount", "default")

    def kubectl(self, *args: str, stdin: object = None) -> None:
        """In the service's namespace."""
        self.api.kubectl("-n", self.namespace, *args, stdin=stdin)

    def configure(self, text: str | None = None, **changes: Any) -> None:
        """Write the ConfigMap; `text` instead of a configuration."""
        config = RouterConfig.model_validate(
            {**CONFIG.model_dump(), "engine_port": self._engine_port, **changes}
        )
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": names.router_name("svc")},
            "data": {names.ROUTER_CONFIG_KEY: config.model_dump_json() if text is None else text},
        }
        self.kubectl("apply", "-f", "-", stdin=body)

    def create_engine(self, name: str) -> None:
        """A pod that is ready, as a kubelet would report it."""
        address, role = ENGINES[name]
        labels = {
            **names.engine_selector("svc"),
            names.LABEL_ROLE: role.value,
            names.LABEL_STATE: State.SERVING.value,
            names.LABEL_REVISION: "r1",
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": names.ENGINE_CONTAINER, "image": "none"}],
            },
        }
        self.kubectl("create", "-f", "-", stdin=pod)
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        self.kubectl("patch", "pod", name, "--subresource=status", "-p", json.dumps({"status": status}))

    def start(self, folder: Path) -> None:
        """Start the router, logged in through the line."""
        content = yaml.safe_load(self.api.kubeconfig.read_text())
        content["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.line.port}"
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(content))
        command = [sys.executable, "-c", "from pdoperator.router.main import main; main()"]
        options = ["--namespace", self.namespace, "--service", "svc", "--host", "127.0.0.1"]
        environment = {k: v for k, v in os.environ.items() if k != "KUBERNETES_SERVICE_HOST"}
        self.process = subprocess.Popen(
            [*command, *options, "--port", str(self.port)], env={**environment, "KUBECONFIG": str(kubeconfig)}
        )

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text; (0, "") while nobody listens."""
        try:
            async with self._client.get(f"http://127.0.0.1:{self.port}{path}") as response:
                return response.status, await response.text()
        except ClientError:
            return 0, ""

    async def post(self, **more: Any) -> int:
        """Status of one request."""
        url = f"http://127.0.0.1:{self.port}/v1/completions"
        async with self._client.post(url, json={"model": "tiny", "prompt": "x", **more}) as response:
            await response.read()
            return response.status

    async def until(self, path: str, words: str, limit_s: float = 20.0) -> None:
        """Wait until an answer holds these words."""
        text = ""
        try:
            async with asyncio.timeout(limit_s):
                while words not in text:
                    text = (await self.get(path))[1]
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"{words!r} never came; last: {text}")


@asynccontextmanager
async def engines() -> AsyncIterator[dict[str, FakeEngine]]:
    """The pods' processes."""
    port = free_port(ENGINES["p"][0])
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(FakeEngine(name, role, host=host, port=port).started())
            for name, (host, role) in ENGINES.items()
        }


@pytest.fixture
async def service(
    api_server: ApiServer, tmp_path: Path
) -> AsyncIterator[tuple[Service, dict[str, FakeEngine]]]:
    """A router that serves from one prefill and one decode engine."""
    server = yaml.safe_load(api_server.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    line = Line(int(server.rpartition(":")[2]))
    await line.connect()
    async with ClientSession() as client, engines() as fakes:
        service = Service(api_server, line, client, fakes["p"].port)
        try:
            service.start(tmp_path)
            await service.until("/readyz", "no configuration yet")
            service.configure()
            await service.until("/readyz", "no engine is ready")
            for name in ENGINES:
                service.create_engine(name)
            await service.until("/metrics", 'pdrouter_engine_info{engine="d",revision="r1",role="decode"')
            await service.until("/readyz", "ok")
            yield service, fakes
        finally:
            if service.process:
                service.process.kill()
                service.process.wait()
            await line.cut()


async def test_the_router_follows_labels_and_configuration_and_keeps_the_last_good_one(
    service: tuple[Service, dict[str, FakeEngine]],
) -> None:
    router, fakes = service
    assert await router.post() == 200
    assert fakes["d"].bodies[-1]["kv_transfer_params"]["remote_engine_id"] == "p"

    router.kubectl("label", "--overwrite", "pod", "p", f"{names.LABEL_ROLE}=decode")
    router.kubectl("label", "--overwrite", "pod", "d", f"{names.LABEL_ROLE}=prefill")
    await router.until("/metrics", 'engine="d",revision="r1",role="prefill"')
    await router.until("/metrics", 'engine="p",revision="r1",role="decode"')
    assert await router.post() == 200
    assert fakes["p"].bodies[-1]["kv_transfer_params"]["remote_engine_id"] == "d"

    router.kubectl("label", "--overwrite", "pod", "d", f"{names.LABEL_STATE}=draining")
    await router.until("/metrics", 'engine="d",revision="r1",role="prefill",state="draining"')
    before = len(fakes["d"].bodies)
    assert await router.post() == 200
    assert len(fakes["d"].bodies) == before

    router.configure(text='{"service": "svc"}')
    router.configure(served_name="other")
    await router.until("/v1/models", '"other"')
    router.kubectl("delete", "configmap", names.router_name("svc"))
    router.kubectl("delete", "pod", "d")
    await router.until("/readyz", "ok")
    assert await router.post(model="other") == 200
    router.kubectl("delete", "pod", "p")
    await router.until("/readyz", "no engine is ready")


async def test_the_router_serves_from_what_it_knows_while_the_api_server_is_away_and_catches_up(
    service: tuple[Service, dict[str, FakeEngine]],
) -> None:
    router, _ = service
    await router.line.cut()
    await router.until("/metrics", "pdrouter_membership_synced 0.0")
    router.kubectl("label", "--overwrite", "pod", "p", f"{names.LABEL_STATE}=draining")
    for _ in range(5):
        assert await router.post() == 200
    assert (await router.get("/readyz"))[0] == 200
    assert 'engine="p",revision="r1",role="prefill",state="serving"' in (await router.get("/metrics"))[1]

    await router.line.connect()
    await router.until("/metrics", "pdrouter_membership_synced 1.0")
    await router.until("/metrics", 'engine="p",revision="r1",role="prefill",state="draining"')


async def test_at_sigterm_the_router_is_unready_finishes_what_runs_and_leaves(
    service: tuple[Service, dict[str, FakeEngine]],
) -> None:
    router, fakes = service
    fakes["d"].tokens, fakes["d"].token_s = 100, 0.05
    running = asyncio.create_task(router.post(stream=True))
    async with asyncio.timeout(5):
        while not fakes["d"].running:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert router.process is not None
    router.process.send_signal(signal.SIGTERM)
    await router.until("/readyz", "shutting down", 2.0)
    assert await running == 200
    assert fakes["d"].cancelled == 0
    assert await asyncio.to_thread(router.process.wait, 15) == 0


def test_without_a_cluster_it_says_so_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from pdoperator.router.main import main; main()"]
    result = subprocess.run(
        [*command, "--namespace", "x", "--service", "y"],
        env={**os.environ, "KUBECONFIG": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("pd-router: no cluster to follow:")
