"""What engines' and routers' metrics are read as."""

from __future__ import annotations

import time

import pytest
from prometheus_client import generate_latest

from pdoperator.api.names import Role, State
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.router.fleet import Fleet
from pdoperator.router.metrics import Metrics
from pdoperator.scheduling.engines import Engine
from pdoperator.signals.engine_metrics import idle
from pdoperator.signals.exposition import read_series, total
from pdoperator.signals.router_metrics import Counts, read_router
from signals.expositions import engine_text, router_text


@pytest.mark.parametrize("prefix", ["vllm:", "vllm_"])
def test_an_engine_that_runs_queues_and_holds_nothing_is_idle(prefix: str) -> None:
    assert idle(engine_text(prefix=prefix)) == Value(True)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(engine_text(running=1), id="it runs a request"),
        pytest.param(engine_text(waiting=1), id="it queues a request"),
        pytest.param(
            engine_text(kv_usage=0.02), id="it holds a finished prefill that decode has yet to fetch"
        ),
    ],
)
def test_an_engine_is_not_idle_while(text: str) -> None:
    assert idle(text) == Value(False)


def test_an_engine_that_exports_no_kv_usage_is_judged_by_its_queues() -> None:
    assert idle(engine_text(kv_usage=None)) == Value(True)


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
def test_what_is_not_an_engines_metrics_is_missing_not_idle(text: str) -> None:
    assert isinstance(idle(text), Missing)


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


def test_what_the_router_really_exposes_is_what_is_read() -> None:
    fleet = Fleet()
    fleet.set_engines([Engine("e1", "10.0.0.1:8000", Role.DECODE, State.SERVING, "r1", ready=True)])
    fleet.scheduler.load.acquire("e1", Role.DECODE)
    metrics = Metrics(fleet)
    metrics.admitted.inc()
    metrics.input_tokens.observe(500)
    metrics.output_tokens.observe(20)
    metrics.tpot.observe(0.03)
    reading = read_router(generate_latest(metrics.registry).decode())
    assert reading.counts == Counts(1, 500, 1, 20, 1, 0.03, 1)
    assert (reading.outstanding, reading.roles) == ({"e1": PerRole(0, 1)}, {"e1": Role.DECODE})


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
    assert idle(padding + engine_text()) == Value(True)
    assert time.perf_counter() - started < 1.0  # parsing all of it takes several times as long
