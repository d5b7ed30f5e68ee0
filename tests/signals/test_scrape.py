"""Scrapes over HTTP: what answers is read, what does not is Missing in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from pdoperator.api import defaults
from pdoperator.api.values import Missing, Value
from pdoperator.signals.scrape import metrics_url, scrape_all


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(text=f"accepted {request.headers['Accept']}")


async def _slow(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response(text="too late")


async def _failing(_: web.Request) -> web.Response:
    raise web.HTTPServiceUnavailable


async def _endless(_: web.Request) -> web.Response:
    return web.Response(body=b"x" * 5000)


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()
    paths = {"/metrics": _metrics, "/slow": _slow, "/failing": _failing, "/endless": _endless}
    for path, answer in paths.items():
        app.router.add_get(path, answer)
    running = TestServer(app)
    async with running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_each_target_is_answered_for_under_its_name(
    server: TestServer, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "SCRAPE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(defaults, "SCRAPE_MAX_BYTES", 4096)
    base = f"http://127.0.0.1:{server.port}"
    urls = {name: f"{base}/{name}" for name in ("metrics", "slow", "failing", "endless")}
    urls["gone"] = f"http://127.0.0.1:{unused_port()}/metrics"
    texts = await scrape_all(session, urls)
    # asked for OpenMetrics, prometheus_client would rename vllm:x to vllm_x
    assert texts["metrics"] == Value("accepted text/plain;version=0.0.4")
    assert texts["slow"] == Missing(f"{base}/slow did not answer within 0.5 s")
    assert texts["failing"] == Missing(f"{base}/failing answered 503")
    assert texts["endless"] == Missing(f"{base}/endless sent more than 4096 bytes")
    assert isinstance(texts["gone"], Missing)


async def test_no_more_than_a_few_scrapes_run_at_a_time(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "SCRAPE_CONCURRENCY", 2)
    running, most = 0, 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/metrics", answer)
    async with TestServer(app) as server:
        await scrape_all(session, {str(i): f"http://127.0.0.1:{server.port}/metrics" for i in range(7)})
    assert most == 2


@pytest.mark.parametrize(
    ("ip", "url"),
    [("10.0.0.1", "http://10.0.0.1:8000/metrics"), ("fd00::1", "http://[fd00::1]:8000/metrics")],
)
def test_addresses_of_both_families(ip: str, url: str) -> None:
    assert metrics_url(ip, 8000) == url
