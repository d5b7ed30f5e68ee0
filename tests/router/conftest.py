"""A router on a real socket over scripted engines; its membership is set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web
from prometheus_client.parser import text_string_to_metric_families

from pdoperator.api.names import Role
from pdoperator.api.router_config import RouterConfig
from pdoperator.router.app import Router
from pdoperator.router.fleet import Fleet
from pdoperator.router.upstream import engine_session
from router.fake_engine import FakeEngine
from waiting import until

CONFIG = RouterConfig(
    service="svc",
    served_name="tiny",
    engine_port=8000,
    connect_timeout_s=20.0,  # as long as a busy machine may take; tests of limits set their own
    prefill_timeout_s=20.0,
    request_timeout_s=60.0,
    kv_lease_s=30.0,
    ttft_target_s=2.0,
    tpot_target_s=0.08,
)


class Bench:
    """A running router, its engines, and a client."""

    def __init__(self, router: Router, url: str, client: ClientSession, stack: AsyncExitStack) -> None:
        self.router = router
        self.fleet = router.fleet
        self.url = url
        self.client = client
        self._stack = stack
        self.engines: dict[str, FakeEngine] = {}

    async def add(self, name: str, role: Role, **settings: Any) -> FakeEngine:
        """Start an engine and put it into the routing table."""
        engine = await self._stack.enter_async_context(FakeEngine(name, role, **settings).started())
        self.engines[name] = engine
        self.show()
        return engine

    def show(self, **changes: dict[str, Any]) -> None:
        """Set the routing table; `changes` by engine name."""
        self.fleet.set_engines(e.engine(**changes.get(name, {})) for name, e in self.engines.items())

    def config(self, **changes: Any) -> None:
        """Change the configuration."""
        assert self.fleet.config is not None
        self.fleet.config = self.fleet.config.model_copy(update=changes)

    async def post(self, body: Any = None, path: str = "/v1/completions", **more: Any) -> tuple[int, Any]:
        """Status and JSON of one request."""
        request = {"model": "tiny", "prompt": "hello", **more} if body is None else body
        data = {"data": request} if isinstance(request, bytes) else {"json": request}
        async with self.client.post(self.url + path, **data) as response:
            return response.status, await response.json()

    async def stream(self, path: str = "/v1/completions", **more: Any) -> bytes:
        """The whole of one stream."""
        body = {"model": "tiny", "prompt": "hello", "stream": True, **more}
        async with self.client.post(self.url + path, json=body) as response:
            assert response.status == 200
            return await response.read()

    @asynccontextmanager
    async def prefilling(self, tokens: int) -> AsyncIterator[None]:
        """Meanwhile engine `p` has a prompt of so many tokens, 2s, so that no other begins like it; it is answered
        afterwards, and nothing is left."""
        gate = self.engines["p"].hold()
        first = asyncio.create_task(self.post(prompt=[2] * tokens))
        await until(lambda: self.engines["p"].running == 1)
        yield
        gate.set()
        assert (await first)[0] == 200
        assert self.outstanding() == 0

    async def samples(self) -> dict[str, float]:
        """/metrics: `name{a="b"}` -> value."""
        async with self.client.get(self.url + "/metrics") as response:
            text = await response.text()
        return {
            sample.name
            + ",".join(sorted(f"{k}={v}" for k, v in sample.labels.items())).join("{}"): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def outstanding(self) -> int:
        """Requests the router counts as being on engines."""
        load = self.fleet.scheduler.load
        return sum(sum(load.outstanding(name).values()) for name in load.engines())


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A router without engines."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(engine_session())
        client = await stack.enter_async_context(ClientSession())
        fleet = Fleet()
        fleet.config = CONFIG
        router = Router(fleet, session)
        runner = web.AppRunner(router.app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        yield Bench(router, f"http://127.0.0.1:{port}", client, stack)


@pytest.fixture
async def pair(bench: Bench) -> Bench:
    """One prefill engine `p` and one decode engine `d`."""
    await bench.add("p", Role.PREFILL)
    await bench.add("d", Role.DECODE)
    return bench
