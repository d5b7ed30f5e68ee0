"""What engines' and routers' metrics are read as."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from prometheus_client import generate_latest

from pdoperator.api.names import Role, State
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.router.fleet import Fleet
from pdoperator.router.metrics import Metrics, Source
from pdoperator.scheduling.engines import Engine
from pdoperator.signals.counters import NONE, ByLength
from pdoperator.signals.engine_metrics import EngineCounts, EngineReading, read_engine
from pdoperator.signals.exposition import read_series, total
from pdoperator.signals.router_metrics import Counts, read_router
from pdoperator.sim.engine.metrics import EngineMetrics
from signals.expositions import engine_text, router_text


@pytest.mark.parametrize("prefix", ["vllm:", "vllm_"])
def test_an_engine_is_read_under_either_spelling_of_its_names(prefix: str) -> None:
    counters = {
        "prefix_cache_queries_total": 100,
        "prefix_cache_hits_total": 40,
        "nixl_xfer_time_seconds_count": 7,
        "nixl_num_failed_transfers_total": 1,
        "nixl_num_kv_expired_reqs_total": 2,
        "nixl_num_notifications_after_expiry_total": 3,
    }
    reading = read_engine(engine_text(running=2, waiting=1, kv_usage=0.5, prefix=prefix, counters=counters))
    assert reading == EngineReading(2, 1, Value(0.5), EngineCounts(100, 40, 7, 1, 2, 3))


def test_an_engine_that_does_not_tell_its_kv_use_does_not_use_none() -> None:
    assert isinstance(read_engine(engine_text(kv_usage=None)).kv_use, Missing)
    assert isinstance(read_engine(engine_text(kv_usage="NaN")).kv_use, Missing)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>not metrics</html>",
        engine_text(running="NaN"),
        "vllm:num_requests_running 0\n",
        "vllm:num_requests_running\n",
    ],
)
def test_what_is_not_an_engines_metrics_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"engine's|float"):
        read_engine(text)


def test_what_the_simulated_engine_exposes_is_what_is_read() -> None:
    metrics = EngineMetrics("tiny", 2048, 16, 100, prefix_caching=True)
    metrics.watch("num_requests_running", "Running.", lambda: 0.0)
    metrics.watch("num_requests_waiting", "Waiting.", lambda: 0.0)
    metrics.failed_transfers.inc()
    text = generate_latest(metrics.registry).decode()
    assert read_engine(text).counts == EngineCounts(failed=1)


def test_a_router_is_read_with_its_counters_and_its_engines() -> None:
    reading = read_router(
        router_text(
            admitted=7,
            inputs=(3000, 6),
            outputs=(600, 5),
            tpots=(0.25, 5),
            outstanding={("e1", "prefill"): 2, ("e1", "decode"): 1, ("e2", "decode"): 4},
            roles={"e1": "prefill", "e2": "decode"},
        )
    )
    assert reading.counts == Counts(7, 3000, 6, 600, 5, 0.25, 5)
    assert reading.outstanding == {"e1": PerRole(2, 1), "e2": PerRole(0, 4)}
    assert reading.roles == {"e1": Role.PREFILL, "e2": Role.DECODE}


def by_length(values: dict[int, float]) -> ByLength:
    return ByLength(tuple(values.get(at, 0.0) for at in range(len(NONE.values))))


def test_a_router_of_another_version_tells_nothing_of_answers_by_length() -> None:
    """Its ended answers alone would be as many as there are tokens: every answer a single one."""
    older = router_text(10, outputs=(200, 10))
    other = older + 'pdrouter_generated_tokens_total{up_to="100.0"} 5\n'
    for text in (older, other):
        counts = read_router(text).counts
        assert (counts.ended, counts.ended_tokens, counts.generated) == (NONE, NONE, NONE)


def test_what_the_router_really_exposes_is_what_is_read() -> None:
    fleet = Fleet()
    fleet.set_engines([Engine("e1", "10.0.0.1:8000", Role.DECODE, State.SERVING, "r1", ready=True)])
    fleet.scheduler.load.acquire("e1", Role.DECODE, 100)
    fleet.scheduler.load.export("e1")
    metrics = Metrics(fleet)
    metrics.admitted.inc()
    metrics.input_tokens.observe(500)
    metrics.output_tokens.observe(20)
    metrics.tpot.observe(0.03)
    metrics.ttft.observe(0.5)
    metrics.sized[Source.EXACT].inc()
    metrics.admitted_tokens.inc(500)
    metrics.admitted_squares.inc(250_000)
    metrics.output_squares.inc(400)
    metrics.token_product.observe(10_000)
    metrics.answer_tokens.generated(0, 20)
    metrics.answer_tokens.ended(20)
    metrics.judged.inc(2)
    metrics.within_slo.inc()
    reading = read_router(generate_latest(metrics.registry).decode())
    expected = Counts(1, 500, 1, 20, 1, 0.03, 1, 0.5, 1, 1, 500, 250_000, 400, 10_000, 1, 2, 1)
    expected = replace(
        expected,
        ended=by_length({5: 1}),
        ended_tokens=by_length({5: 20}),
        generated=by_length({0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 4}),
    )
    assert reading.counts == expected
    assert (reading.outstanding, reading.roles) == ({"e1": PerRole(0, 1)}, {"e1": Role.DECODE})
    assert reading.exports == {"e1": 1}


@pytest.mark.parametrize("text", ["", engine_text(), router_text(admitted=float("nan"))])
def test_what_is_not_a_routers_metrics_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="router"):
        read_router(text)


def test_a_series_that_is_not_there_has_no_total() -> None:
    assert (
        total(read_series(engine_text(), {"vllm:num_requests_swapped"}), "vllm:num_requests_swapped") is None
    )


def test_a_large_exposition_is_read_quickly_for_few_series() -> None:
    padding = "".join(
        f'vllm:e2e_request_latency_seconds_bucket{{le="{n}",engine="0"}} {n}\n' for n in range(20_000)
    )
    started = time.perf_counter()
    assert read_engine(padding + engine_text()).running == 0
    assert time.perf_counter() - started < 1.0  # parsing all of it takes several times as long
