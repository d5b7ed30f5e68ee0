"""The router over the project's own simulated engines, which judge a handoff as strictly as vLLM does."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from pdoperator.api.names import Role, State
from pdoperator.scheduling.engines import Engine as Row
from pdoperator.sim.engine.args import parse_config
from pdoperator.sim.engine.engine import Engine
from pdoperator.sim.engine.server import serve
from router.conftest import Bench
from scheduling.world import COSTS

LABELS = {"engine": "0", "model_name": "tiny"}
INSTANT = {"ttft_s": [0], "itl_s": [0], "latency_s": 0, "link_bytes_per_s": 0}
TRANSFER = {"kv_connector": "NixlConnector", "kv_role": "kv_both", "kv_load_failure_policy": "fail"}


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def simulated(port: int, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    """One simulated engine."""
    monkeypatch.setenv("VLLM_NIXL_SIDE_CHANNEL_HOST", "127.0.0.1")
    monkeypatch.setenv("VLLM_NIXL_SIDE_CHANNEL_PORT", str(free_port()))
    arguments = [
        "serve",
        "/models/tiny",
        "--served-model-name",
        "tiny",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    engine = Engine(parse_config([*arguments, "--kv-transfer-config", json.dumps(TRANSFER)]))
    await engine.start()
    runner = await serve(engine, "127.0.0.1", port)
    try:
        yield engine
    finally:
        await engine.stop()
        await runner.cleanup()


@pytest.fixture
async def simulation(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A prefill and a decode engine that fails a request whose handoff is wrong."""
    async with AsyncExitStack() as stack:
        rows = []
        for role in (Role.PREFILL, Role.DECODE):
            port = free_port()
            await stack.enter_async_context(simulated(port, monkeypatch))
            rows.append(Row(role.value, f"127.0.0.1:{port}", role, State.SERVING, "r1", ready=True))
        bench.fleet.set_engines(rows)
        yield bench


@asynccontextmanager
async def three_to_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kv_tokens: int
) -> AsyncIterator[list[Engine]]:
    """Three prefill engines, which are handed out, and a decode engine; they answer at once."""
    monkeypatch.setenv("PD_SIM_PROFILE", json.dumps({**INSTANT, "kv_tokens": kv_tokens}))
    async with AsyncExitStack() as stack:
        rows, engines = [], []
        for name in ("p1", "p2", "p3", "d"):
            port = free_port()
            engines.append(await stack.enter_async_context(simulated(port, monkeypatch)))
            role = Role.DECODE if name == "d" else Role.PREFILL
            rows.append(Row(name, f"127.0.0.1:{port}", role, State.SERVING, "r1", ready=True))
        bench.fleet.set_engines(rows)
        yield engines[:3]


def counted(engines: list[Engine], name: str) -> list[float]:
    """A counter of the engines' own."""
    return [
        engine.metrics.registry.get_sample_value(f"vllm:{name}_total", LABELS) or 0.0 for engine in engines
    ]


async def say(bench: Bench, session: int, turn: int) -> None:
    """A turn brings all that the session has said before and 512 tokens more."""
    said = [3 + (session * 331 + at * 7) % 1900 for at in range(512 * turn)]
    status, _ = await bench.post(prompt=said, max_tokens=1)
    assert status == 200


@pytest.mark.parametrize(("prefix_caching", "low", "high"), [(True, 0.55, 0.6), (False, 0.0, 0.15)])
async def test_engines_find_in_their_caches_what_conversations_said_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, prefix_caching: bool, low: float, high: float
) -> None:
    """Of 512 (1 + 2 + 3 + 4) tokens a session 512 (1 + 2 + 3) were said before, 0.6. In turns an engine sees a session
    of four turns at most twice: 0.1."""
    bench.config(prefix_caching=prefix_caching)
    async with three_to_one(bench, monkeypatch, 1_000_000) as engines:
        for turn in range(1, 5):
            for session in range(7):
                await say(bench, session, turn)
        asked, found = (sum(counted(engines, f"prefix_cache_{what}")) for what in ("queries", "hits"))
        assert asked == 7 * 5120
        assert low <= found / asked <= high
        assert min(counted(engines, "prompt_tokens")) > 5120  # none stands idle
        samples = await bench.samples()
    assert samples["pdrouter_prefix_cache_queries_total{}"] == asked
    if prefix_caching:
        assert samples["pdrouter_prefix_cache_hits_total{}"] == pytest.approx(found, rel=0.1)


async def test_what_small_caches_have_evicted_is_not_counted_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Caches of 4,096 tokens: a session that speaks all the time is found there, those that come back after many others
    are not."""
    bench.config(costs=COSTS.model_copy(update={"kv_tokens": 4096}))
    async with three_to_one(bench, monkeypatch, 4096) as engines:
        for turn in range(1, 4):
            for session in range(1, 13):
                await say(bench, 0, 2)
                await say(bench, session, turn)
        asked, found = (sum(counted(engines, f"prefix_cache_{what}")) for what in ("queries", "hits"))
        predicted = (await bench.samples())["pdrouter_prefix_cache_hits_total{}"]
    assert 0.4 < found / asked < 0.6
    assert predicted == pytest.approx(found, rel=0.1)


async def test_outputs_of_a_pair_equal_those_of_one_engine(simulation: Bench) -> None:
    request = {"model": "tiny", "prompt": "one two three four", "max_tokens": 12, "temperature": 0}
    status, paired = await simulation.post(request)
    assert status == 200
    rows = simulation.fleet.table.engines
    simulation.fleet.set_engines([row for row in rows if row.role is Role.DECODE])
    _, alone = await simulation.post(request)
    assert paired["choices"] == alone["choices"]
    samples = await simulation.samples()
    assert samples["pdrouter_requests_total{outcome=ok,path=disaggregated}"] == 1
    assert samples["pdrouter_requests_total{outcome=ok,path=aggregated}"] == 1


async def test_many_streams_and_answers_at_once_are_all_served_by_the_pair(simulation: Bench) -> None:
    chat = [{"role": "user", "content": "say something"}]
    jobs = [simulation.stream(max_tokens=8, prompt=f"prompt {n}") for n in range(20)]
    jobs += [simulation.stream("/v1/chat/completions", messages=chat, max_tokens=8) for _ in range(20)]
    answers = await asyncio.gather(*jobs)
    assert all(raw.endswith(b"data: [DONE]\n\n") and b'"error"' not in raw for raw in answers)
    samples = await simulation.samples()
    assert samples["pdrouter_requests_total{outcome=ok,path=disaggregated}"] == 40
    assert samples["pdrouter_request_output_tokens_sum{}"] == 320
    assert simulation.outstanding() == 0


async def test_a_burst_on_simulated_engines_overflows_and_every_answer_is_what_it_would_have_been(
    simulation: Bench,
) -> None:
    """Each prompt is predicted to take 0.4 s: four are let wait for prefill at a time, the others are not."""
    costs = COSTS.model_copy(update={"ttft_b": 4e-3, "itl_a": 1e-3})
    simulation.config(costs=costs, local_prefill=True)
    asked: dict[str, Any] = {"prompt": list(range(1, 101)), "max_tokens": 8, "temperature": 0}
    answers = await asyncio.gather(*(simulation.post(**asked) for _ in range(12)))
    assert {status for status, _ in answers} == {200}
    assert len({answer["choices"][0]["text"] for _, answer in answers}) == 1
    samples = await simulation.samples()
    late = samples["pdrouter_aggregated_total{reason=prefill_late}"]
    assert late > 0
    assert samples["pdrouter_requests_total{outcome=ok,path=aggregated}"] == late
    assert samples["pdrouter_requests_total{outcome=ok,path=disaggregated}"] == 12 - late
    assert simulation.outstanding() == 0
