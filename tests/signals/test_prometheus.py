"""Prometheus as the source of readings: a real one over pods that the test plays, in both spellings of vLLM's names."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from pdoperator.api.sources import Prometheus
from pdoperator.api.values import Missing, Value
from pdoperator.signals.observe import ServiceScraper
from pdoperator.signals.pods import PodView
from pdoperator.signals.prometheus import FromPrometheus
from signals.expositions import engine_text, router_text

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: pods
    static_configs:
{targets}
"""
TARGET = '      - {{targets: ["127.0.0.1:{port}"], labels: {{namespace: "{namespace}", pod: "{pod}"}}}}'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pod(name: str, **changes: object) -> PodView:
    known: dict[str, object] = {"ip": "10.0.0.1", "ready": True, "deleting": False, "created_s": 0.0}
    return PodView(name, **(known | changes))  # type: ignore[arg-type]


ROUTER, ENGINE = pod("tiny-router-1"), pod("tiny-engine-1")


class Pods:
    """/metrics of the pods of a service and of somebody else's, all on one port each."""

    def __init__(self) -> None:
        self.texts: dict[tuple[str, str], str] = {}
        self.ports: dict[tuple[str, str], int] = {}

    async def add(self, pod: str, text: str, namespace: str = "team-a") -> web.AppRunner:
        key = (namespace, pod)
        self.texts[key] = text
        app = web.Application()

        async def metrics(_: web.Request) -> web.Response:
            return web.Response(text=self.texts[key], content_type="text/plain")

        app.add_routes([web.get("/metrics", metrics)])
        runner = web.AppRunner(app)
        await runner.setup()
        self.ports[key] = free_port()
        await web.TCPSite(runner, "127.0.0.1", self.ports[key]).start()
        return runner


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    made = Pods()
    runners = [
        await made.add("tiny-router-1", router_text(10, (1000, 10), (100, 10))),
        await made.add("tiny-engine-1", engine_text(running=3, waiting=2, kv_usage=0.5, prefix="vllm_")),
        await made.add("tiny-engine-0", engine_text(running=9)),
        await made.add("tiny-router-1", router_text(999), namespace="team-b"),
        await made.add("tiny-two-router-1", router_text(10, (1000, 10), (100, 10))),
    ]
    yield made
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
def prometheus(prometheus_program: Path, pods: Pods, tmp_path: Path) -> Iterator[FromPrometheus]:
    targets = [TARGET.format(port=port, namespace=n, pod=p) for (n, p), port in pods.ports.items()]
    config = tmp_path / "prometheus.yaml"
    config.write_text(CONFIG.format(targets="\n".join(targets)))
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(prometheus_program),
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    yield FromPrometheus(Prometheus(url=f"http://{address}"), "team-a", "tiny")
    process.terminate()
    process.wait(30)


async def scraped(source: FromPrometheus) -> None:
    """Until both kinds have been scraped."""
    async with asyncio.timeout(60):
        while await source.preflight([ROUTER], [ENGINE]):  # noqa: ASYNC110 - another process has to come round
            await asyncio.sleep(0.3)


async def test_the_live_pods_of_the_service_are_read_and_no_others(
    prometheus: FromPrometheus, pods: Pods
) -> None:
    await scraped(prometheus)
    readings = await prometheus.read([ROUTER], [ENGINE])
    assert set(readings.routers) | set(readings.engines) == {"tiny-router-1", "tiny-engine-1"}
    router, engine = readings.routers["tiny-router-1"], readings.engines["tiny-engine-1"]
    assert isinstance(router, Value)
    assert router.x.counts.admitted == 10
    assert isinstance(engine, Value)
    assert (engine.x.running, engine.x.waiting, engine.x.kv_use) == (3, 2, Value(0.5))


async def test_demand_comes_from_what_was_scraped_and_from_before_our_time(
    prometheus: FromPrometheus, pods: Pods
) -> None:
    await scraped(prometheus)
    scraper = ServiceScraper(session=None)  # type: ignore[arg-type]
    scraper.source = prometheus
    await scraper.observe([], [ROUTER], time.time(), end_interval=True)
    pods.texts["team-a", "tiny-router-1"] = router_text(40, (10_000, 40), (1000, 40))
    another_services = router_text(1010, (10_000_000, 1010), (100_000, 1010))
    pods.texts["team-a", "tiny-two-router-1"] = another_services
    async with asyncio.timeout(60):
        while True:
            await asyncio.sleep(0.5)
            seen = await scraper.observe([], [ROUTER], time.time(), end_interval=True)
            if isinstance(seen.demand, Value) and seen.demand.x is not None:
                break
    assert (seen.demand.x.isl_tokens, seen.demand.x.osl_tokens) == (300, 30)
    assert seen.demand.x.rate_rps > 0
    async with asyncio.timeout(60):
        while not (before := await prometheus.demand(time.time() - 30, time.time(), 1.0)):  # noqa: ASYNC110
            await asyncio.sleep(1)
    assert before[-1].demand.isl_tokens == pytest.approx(300, rel=0.3)  # rates are extrapolated


async def test_preflight_names_the_query_that_finds_nothing(prometheus: FromPrometheus) -> None:
    """dynamo#4412 and llm-d-autoscaling#1561: blind through a wrong address or a renamed metric, and nobody told."""
    await scraped(prometheus)
    [problem] = await prometheus.preflight([ROUTER], [ENGINE, pod("tiny-engine-7")])
    assert "vllm[:_]num_requests_running" in problem
    assert "tiny-engine-7" in problem


async def test_a_prometheus_that_is_not_there_makes_everything_unknown_and_nothing_zero() -> None:
    """dynamo#14765: a failed read became zero requests, and pools shrank under traffic."""
    source = FromPrometheus(Prometheus(url=f"http://127.0.0.1:{free_port()}"), "team-a", "tiny")
    readings = await source.read([ROUTER], [ENGINE])
    assert isinstance(readings.routers["tiny-router-1"], Missing)
    assert isinstance(readings.engines["tiny-engine-1"], Missing)
    [problem] = await source.preflight([ROUTER], [])
    assert "pdrouter_requests_admitted_total" in problem
    scraper = ServiceScraper(session=None)  # type: ignore[arg-type]
    scraper.source = source
    seen = await scraper.observe([], [ROUTER], time.time(), end_interval=True)
    assert isinstance(seen.demand, Missing)
    assert "tiny-router-1" in seen.unread


async def served(answer: str, status: int = 200) -> AsyncIterator[FromPrometheus]:
    """A server that answers every query like this."""
    app = web.Application()

    async def reply(_: web.Request) -> web.Response:
        return web.Response(text=answer, status=status, content_type="application/json")

    app.add_routes([web.get("/api/v1/query", reply)])
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield FromPrometheus(Prometheus(url=f"http://127.0.0.1:{port}"), "team-a", "tiny")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ('{"status":"error","error":"bad"}', 400),
        ("<html>login</html>", 200),
        ("{}", 200),
        ('{"data":{"result":[]}}', 200),
    ],
)
async def test_an_answer_that_holds_no_reading_is_missing(answer: str, status: int) -> None:
    async for source in served(answer, status):
        readings = await source.read([ROUTER], [ENGINE])
        assert isinstance(readings.routers["tiny-router-1"], Missing)


async def test_a_reading_has_the_age_of_its_sample() -> None:
    at_s = time.time() - 20
    metric = '{"__name__":"pdrouter_requests_admitted_total","pod":"tiny-router-1"}'
    row = f'{{"metric":{metric},"values":[[{at_s - 15},"3"],[{at_s},"5"]]}}'
    async for source in served(f'{{"data":{{"result":[{row}]}}}}'):
        reading = (await source.read([ROUTER], [])).routers["tiny-router-1"]
        assert isinstance(reading, Value)
        assert reading.x.counts.admitted == 5
        assert 19 < reading.age_s < 60
