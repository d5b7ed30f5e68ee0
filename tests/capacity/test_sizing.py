"""All methods side by side: the published vectors, and what each needs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api.names import Role
from pdoperator.api.values import Missing, PerRole
from pdoperator.capacity import sizing
from pdoperator.capacity.builtin import BUILTIN
from pdoperator.capacity.decode_curve import DecodeCurve, DecodePoint
from pdoperator.capacity.profile import Fit
from pdoperator.capacity.sizing import Demand, DopdSize, Engine, Method, QueueSize, Targets

CURVE = DecodeCurve(
    tuple(
        DecodePoint(batch, ms / 1000)
        for batch, ms in [(10, 12.8), (20, 16.4), (30, 18.8), (40, 21.6), (50, 23.9), (60, 26.2)]
    )
)
PAPER = Demand(6144, 512, rate_rps=5e6 / 60 / 6656)
NO_TARGETS = Targets()
TARGETS = Targets(ttft_s=2.0, tpot_s=0.020)
SGLANG = Engine(prefill=Fit(0, 1 / 28_309), decode=CURVE)
DOPD = Demand(1024.4, 245.3, concurrent=400)
H100 = Engine(prefill=Fit(0, 0.15 / 1024.4), decode=0.035, kv_blocks=2040, block_tokens=128)


def queue_size(
    method: Method, demand: Demand = PAPER, targets: Targets = TARGETS, engine: Engine = SGLANG
) -> QueueSize:
    size = sizing.sizes(demand, TARGETS, SGLANG)[method]
    assert isinstance(size, QueueSize), size
    return size


def dopd_size(
    method: Method, demand: Demand = DOPD, targets: Targets = NO_TARGETS, engine: Engine = H100
) -> DopdSize:
    size = sizing.sizes(demand, targets, engine)[method]
    assert isinstance(size, DopdSize), size
    return size


def why(method: Method, demand: Demand, targets: Targets, engine: Engine) -> str:
    size = sizing.sizes(demand, targets, engine)[method]
    assert isinstance(size, Missing), size
    return size.why


def test_mm1_gives_the_papers_fleet_by_nearest_and_a_safe_one_by_rounding_up() -> None:
    size = queue_size(Method.MM1)
    assert size.prefill == pytest.approx(3.068, abs=5e-4)
    assert size.decode == pytest.approx(3.791, abs=5e-4)
    assert (size.prefill_replicas, size.decode_replicas) == (4, 4)
    assert (size.nearest.prefill_replicas, size.nearest.decode_replicas) == (3, 4)
    assert size.rho == pytest.approx(0.8858, abs=5e-5)
    assert size.ttft_floor_s == pytest.approx(0.3012, abs=5e-5)


def test_the_papers_fleet_is_held_against_the_targets_again() -> None:
    size = queue_size(Method.MM1)
    assert (
        not size.nearest.meets_targets
    )  # the paper measured 4.8 M of the 5 M tokens per minute it was sized for
    assert size.nearest.max_tokens_per_min == pytest.approx(4.890e6, rel=1e-3)
    assert size.nearest.ttft_s == pytest.approx(2.402, abs=0.002)
    assert size.ttft_s < 2.0 < size.nearest.ttft_s
    assert size.max_tokens_per_min >= 5e6


def test_the_percentile_form_asks_for_more_and_fixed_lengths_for_less() -> None:
    p90 = queue_size(Method.MM1_PERCENTILE)
    assert p90.prefill == pytest.approx(3.69, abs=0.005)
    assert p90.ttft_s <= 2.0
    assert queue_size(Method.MD1).prefill_tokens_per_s == pytest.approx(26_594, abs=1)
    mean = queue_size(Method.MM1)
    assert queue_size(Method.MD1).prefill < queue_size(Method.MG1).prefill < mean.prefill < p90.prefill


def test_mg1_takes_the_spread_that_it_is_given() -> None:
    exponential = queue_size(Method.MG1, replace(PAPER, isl_cv=1.0))
    assert exponential.prefill == pytest.approx(queue_size(Method.MM1).prefill)
    assert exponential.ttft_s == pytest.approx(queue_size(Method.MM1).ttft_s)
    assert queue_size(Method.MG1, replace(PAPER, isl_cv=2.0)).prefill > exponential.prefill


def test_dopd_gives_its_vectors_in_every_variant() -> None:
    release, paper, ours = (dopd_size(m) for m in (Method.DOPD_RELEASE, Method.DOPD_PAPER, Method.DOPD))
    assert (release.sequence_blocks, release.max_concurrency) == (9, 226)
    assert release.ratio == pytest.approx(3.949, abs=5e-4)
    assert (release.prefill_replicas, release.decode_replicas) == (4, 2)
    assert (paper.prefill_replicas, paper.decode_replicas) == (8, 2)
    assert (ours.prefill_replicas, ours.decode_replicas) == (8, 2)


def test_dopd_reads_concurrency_off_the_decode_curve_and_agrees_with_the_papers_fleet() -> None:
    size = dopd_size(Method.DOPD, PAPER, TARGETS, SGLANG)
    assert size.max_concurrency == 34
    assert size.sequence_blocks is None
    assert (size.prefill_replicas, size.decode_replicas) == (3, 4)


def test_little_gives_the_requests_in_decode_from_a_rate() -> None:
    size = dopd_size(Method.DOPD, Demand(1024.4, 245.3, rate_rps=10))
    assert size.concurrent == pytest.approx(10 * 245.3 * 0.035)


def test_a_known_spread_of_isl_asks_dopd_for_more_prefill() -> None:
    engine = replace(H100, prefill=Fit(0.02, 1e-4, 1e-8))
    even, spread = (dopd_size(Method.DOPD, replace(DOPD, isl_cv=cv), engine=engine) for cv in (None, 1.3))
    assert spread.ratio > even.ratio


def test_a_profile_serves_every_method() -> None:
    profile = BUILTIN["h200-llama-3.1-8b-fp8-tp1"]
    engine = Engine(profile.ttft, profile, profile.kv_tokens // 128, 128)
    sizes = sizing.sizes(Demand(2048, 256, rate_rps=50), Targets(1.0, 0.025), engine)
    assert not [m for m, size in sizes.items() if isinstance(size, Missing)]
    ours, queue = sizes[Method.DOPD], sizes[Method.MM1]
    assert isinstance(ours, DopdSize)
    assert isinstance(queue, QueueSize)
    batch = ours.max_concurrency
    assert queue.decode_tokens_per_s == pytest.approx(batch / profile.itl_s(batch, 2176))
    assert profile.itl_s(ours.max_concurrency, 2176) <= 0.025 < profile.itl_s(ours.max_concurrency + 1, 2176)


def test_the_released_form_holds_no_more_than_the_engine_does() -> None:
    profile = replace(BUILTIN["cpu-tiny"], kv_tokens=10**7)
    engine = Engine(profile.ttft, profile, profile.kv_tokens // 128, 128)
    assert dopd_size(Method.DOPD_RELEASE, engine=engine).max_concurrency == profile.max_batch


@pytest.mark.parametrize(
    ("method", "demand", "targets", "engine", "reason"),
    [
        (Method.MM1, DOPD, TARGETS, SGLANG, "needs a request rate"),
        (Method.MM1, PAPER, Targets(tpot_s=0.02), SGLANG, "needs a TTFT target"),
        (Method.MG1, PAPER, Targets(ttft_s=2), SGLANG, "needs a TPOT target"),
        (Method.MM1, PAPER, TARGETS, replace(SGLANG, prefill=None), "needs a prefill throughput"),
        (Method.MM1, PAPER, TARGETS, replace(SGLANG, decode=None), "needs a decode curve"),
        (Method.DOPD_PAPER, PAPER, TARGETS, SGLANG, "needs KV blocks of a decode engine, or a profile"),
        (Method.DOPD, PAPER, Targets(), SGLANG, "needs KV blocks of a decode engine, a decode curve"),
        (Method.DOPD, Demand(6144, 512), TARGETS, SGLANG, "needs a request rate or requests at once"),
        (Method.MM1, PAPER, Targets(0.2, 0.02), SGLANG, "cannot be met by any number of prefill"),
        (Method.MG1, PAPER, Targets(0.2, 0.02), SGLANG, "cannot be met by any number of prefill"),
        (Method.MM1, PAPER, Targets(2, 0.01), SGLANG, "outside the decode curve"),
        (Method.DOPD, DOPD, Targets(tpot_s=0.03), H100, "cannot be met by any number of decode"),
        (Method.DOPD, DOPD, Targets(), replace(H100, kv_blocks=8), "needs 9 KV blocks of 8"),
    ],
)
def test_a_method_without_an_answer_says_why(
    method: Method, demand: Demand, targets: Targets, engine: Engine, reason: str
) -> None:
    assert reason in why(method, demand, targets, engine)


def test_what_three_and_three_take_is_bound_by_decode() -> None:
    limit = sizing.fleet_limit(Demand(6144, 512), TARGETS, SGLANG, PerRole(3, 3))
    assert limit.binding is Role.DECODE
    assert limit.tokens_per_min(6144, 512) == pytest.approx(3.957e6, rel=1e-3)


@given(rate=st.floats(0.01, 1000), more=st.floats(0, 1000), cv=st.floats(0, 3))
def test_more_load_never_asks_for_fewer_engines_by_any_method(rate: float, more: float, cv: float) -> None:
    profile = BUILTIN["h200-llama-3.1-8b-fp8-tp1"]
    engine = Engine(profile.ttft, profile, profile.kv_tokens // 128, 128)
    low, high = (
        sizing.sizes(Demand(2048, 256, rate_rps=r, isl_cv=cv), Targets(2.0, 0.03), engine)
        for r in (rate, rate + more)
    )
    for method in Method:
        one, other = low[method], high[method]
        assert not isinstance(one, Missing)
        assert not isinstance(other, Missing)
        assert 1 <= one.prefill_replicas <= other.prefill_replicas
        assert 1 <= one.decode_replicas <= other.decode_replicas
