"""What requests cost and how many engines that takes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.capacity.builtin import BUILTIN
from pdoperator.capacity.profile import Profile
from pdoperator.forecast.demand import Demand
from pdoperator.planning.adaptive import loads
from pdoperator.planning.adaptive.loads import Targets, work_of

PROFILE: Profile = BUILTIN["h100-llama-3.3-70b-fp8-tp4"]
CHAT = Demand(10.0, 1200.0, 200.0, isl_cv=0.96, osl_cv=1.1)
TARGETS = Targets(2.0, 0.01)


def test_work_of_prompts_is_that_of_their_mean_only_when_all_are_alike() -> None:
    alike, spread = (work_of(replace(CHAT, isl_cv=cv), PROFILE).prefill_s for cv in (0.0, 1.0))
    assert alike == pytest.approx(PROFILE.ttft.b * 1200 + PROFILE.ttft.c * 1200**2)
    assert spread - alike == pytest.approx(PROFILE.ttft.c * 1200**2)


def test_work_of_an_answer_is_the_sum_over_its_tokens_of_what_a_sequence_adds_to_a_step() -> None:
    osl, isl = 300, 1000
    tokens = sum(PROFILE.itl.b + PROFILE.itl.c * (isl + i) for i in range(osl))
    work = work_of(Demand(1.0, isl, osl, osl_cv=0.0), PROFILE).decode_s
    assert work == pytest.approx(tokens, rel=1e-3)


def drawn(covariance_sigma: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray, Demand]:
    """Prompts and answers of jointly lognormal lengths, and the demand that describes them."""
    isl_sigma, osl_sigma = (math.sqrt(math.log1p(cv**2)) for cv in (CHAT.isl_cv, CHAT.osl_cv))
    covariances = [[isl_sigma**2, covariance_sigma], [covariance_sigma, osl_sigma**2]]
    logs = np.random.default_rng(seed).multivariate_normal([0.0, 0.0], covariances, 400_000)
    isl = CHAT.isl_tokens * np.exp(logs[:, 0] - isl_sigma**2 / 2)
    osl = CHAT.osl_tokens * np.exp(logs[:, 1] - osl_sigma**2 / 2)
    return isl, osl, replace(CHAT, covariance=math.expm1(covariance_sigma))


@pytest.mark.parametrize("covariance_sigma", [-0.3, 0.0, 0.4])
def test_work_and_kv_of_lengths_that_hang_together_are_those_of_the_requests_themselves(
    covariance_sigma: float,
) -> None:
    isl, osl, demand = drawn(covariance_sigma)
    decode_s = PROFILE.itl.b * osl + PROFILE.itl.c * (isl * osl + osl**2 / 2)
    work = work_of(demand, PROFILE)
    assert work.decode_s == pytest.approx(decode_s.mean(), rel=0.02)
    generated = osl * np.random.default_rng(2).random(len(osl))  # by the end of a random moment of its decode
    kv = np.average(isl + generated, weights=osl)
    by_memory = loads.decode_batch(demand, PROFILE, work, 10.0)
    assert by_memory == pytest.approx(PROFILE.kv_tokens / kv, rel=0.02)
    spread = np.average((isl + generated) ** 2, weights=osl) / kv**2
    busy, batch = 5.0, 100.0
    room = loads.decode_engines(
        busy, demand, batch, 0.5, by_memory=True
    )  # the median: no margin but the last one's
    assert room == pytest.approx(busy / (1 - spread / batch), rel=0.02)


def test_answers_that_are_long_where_prompts_are_need_more_decode_engines() -> None:
    """ServeGen's m-large: three engines were kept busy where lengths taken as independent told of two."""
    alone, together = (work_of(replace(CHAT, covariance=c), PROFILE).decode_s for c in (0.0, 1.0))
    assert together > 1.4 * alone


def test_what_a_prefix_cache_holds_costs_no_prefill() -> None:
    half = work_of(replace(CHAT, prefix_hit=0.5), PROFILE)
    assert half.prefill_s == pytest.approx(work_of(CHAT, PROFILE).prefill_s / 2)
    assert half.decode_s == work_of(CHAT, PROFILE).decode_s


def test_a_decode_engine_holds_what_its_tpot_target_allows() -> None:
    work = work_of(CHAT, PROFILE)
    batch = loads.decode_batch(CHAT, PROFILE, work, 0.03)
    slope_s = work.decode_s / CHAT.osl_tokens
    assert PROFILE.itl.a + slope_s * batch == pytest.approx(0.03)


def test_a_decode_engine_holds_no_more_than_its_kv_cache() -> None:
    long = replace(CHAT, isl_tokens=50_000.0)
    batch = loads.decode_batch(long, PROFILE, work_of(long, PROFILE), 10.0)
    assert batch * long.isl_tokens < PROFILE.kv_tokens


def test_at_its_batch_the_share_of_work_is_what_the_target_leaves_beside_the_pass() -> None:
    work = work_of(CHAT, PROFILE)
    batch = loads.decode_batch(CHAT, PROFILE, work, 0.03)
    assert loads.decode_share(CHAT, PROFILE, work, batch) == pytest.approx(1 - PROFILE.itl.a / 0.03)


def test_decode_engines_whose_link_is_slower_than_their_steps_are_as_many_as_the_link_asks_for() -> None:
    code = Demand(10.0, 2000.0, 30.0)  # much KV to fetch, few tokens to decode
    small = BUILTIN["h200-llama-3.1-8b-fp8-tp1"]
    for profile, by_link in ((small, True), (replace(small, link_bytes_per_s=None), False)):
        work = work_of(code, profile)
        batch = loads.decode_batch(code, profile, work, 0.08)
        steps_s = work.decode_s / loads.decode_share(code, profile, work, batch)
        link_s = 2000 * small.transfer_s_per_token
        assert link_s > steps_s
        expected = link_s if by_link else steps_s
        assert loads.decode_busy(code, profile, work, batch) == pytest.approx(expected)


def test_decode_fetches_and_computes_at_the_same_time() -> None:
    work = work_of(CHAT, PROFILE)
    batch = loads.decode_batch(CHAT, PROFILE, work, 0.08)
    steps_s = work.decode_s / loads.decode_share(CHAT, PROFILE, work, batch)
    assert 0 < CHAT.isl_tokens * PROFILE.transfer_s_per_token < steps_s
    assert loads.decode_busy(CHAT, PROFILE, work, batch) == steps_s


@given(
    load=st.floats(0.01, 200),
    more=st.floats(1.0, 3.0),
    isl=st.floats(10, 30_000),
    cv=st.floats(0, 3),
    misses=st.floats(0.001, 0.5),
)
def test_prefill_engines_exceed_their_load_and_never_fall_with_it(
    load: float, more: float, isl: float, cv: float, misses: float
) -> None:
    demand = replace(CHAT, isl_tokens=isl, isl_cv=cv)
    targets = replace(TARGETS, misses=misses)
    work = work_of(demand, PROFILE)
    engines = loads.prefill_engines(load, demand, PROFILE, work, targets)
    assert load <= engines < math.inf
    assert loads.prefill_engines(load * more, demand, PROFILE, work, targets) >= engines * (1 - 1e-2)


def test_fewer_misses_and_longer_prompts_need_more_headroom() -> None:
    def headroom(isl: float, misses: float) -> float:
        demand = replace(CHAT, isl_tokens=isl)
        work = work_of(demand, PROFILE)
        return loads.prefill_engines(8.0, demand, PROFILE, work, replace(TARGETS, misses=misses)) - 8.0

    assert headroom(1200, 0.1) < headroom(1200, 0.01) < headroom(12_000, 0.01)


def test_prompts_that_miss_their_target_even_alone_call_for_no_engines() -> None:
    hopeless = replace(CHAT, isl_tokens=200_000.0, isl_cv=0.1)
    work = work_of(hopeless, PROFILE)
    assert loads.prefill_engines(3.0, hopeless, PROFILE, work, TARGETS) == 3.0


@pytest.mark.parametrize(("batch", "most"), [(300.0, 0.6), (16.0, 4.0)])
def test_few_large_sequences_need_more_room_than_many_small_ones(batch: float, most: float) -> None:
    room = loads.decode_engines(5.0, CHAT, batch, 0.01, by_memory=True) - 5.0
    assert 0 < room < most


def test_places_in_a_small_batch_need_less_room_than_kv_of_every_size() -> None:
    """An engine of two places asked for three times what was busy, and decode never gave one up."""
    assert loads.decode_engines(1.0, CHAT, 2.0, 0.1, by_memory=False) == pytest.approx(
        1 + 1.2816 * 0.5**0.5, 1e-3
    )
    assert loads.decode_engines(1.0, CHAT, 2.0, 0.1, by_memory=True) > 3.5


@given(
    load=st.floats(0, 100),
    more=st.floats(0, 50),
    batch=st.floats(1, 500),
    cv=st.floats(0, 5),
    by_memory=st.booleans(),
)
def test_decode_engines_never_fall_with_their_load(
    load: float, more: float, batch: float, cv: float, by_memory: bool
) -> None:
    demand = replace(CHAT, isl_cv=cv)
    engines = loads.decode_engines(load, demand, batch, 0.01, by_memory=by_memory)
    assert load <= engines <= loads.decode_engines(load + more, demand, batch, 0.01, by_memory=by_memory)
