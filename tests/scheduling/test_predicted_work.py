"""Engines are picked by what they have to do, not by how many requests they have; late prompts go to decode engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api.names import Role
from pdoperator.scheduling.load import NEVER, Account, Load
from pdoperator.scheduling.pick import Scheduler
from pdoperator.scheduling.prefixes import Prompt
from scheduling.world import B1, BLIND, COSTS, D1, D2, NOW_S, P1, P2, PROMPT, config, table

CONFIG = config()
SQUARES = config(costs=COSTS.model_copy(update={"ttft_c": 1e-6}))
FLEET = table(P1, P2, D1, D2)


def given_to(scheduler: Scheduler, engine: str, *prompts: int) -> None:
    """Prompts that `engine` has yet to compute."""
    for tokens in prompts:
        scheduler.load.acquire(engine, Role.PREFILL, tokens)


def decoding(scheduler: Scheduler, engine: str, *contexts: int) -> None:
    """Requests that `engine` decodes."""
    for tokens in contexts:
        scheduler.load.acquire(engine, Role.DECODE, tokens, computed=True)


def test_a_deferred_prompt_is_before_other_deferred_ones_and_before_all_once_its_time_has_come() -> None:
    scheduler = Scheduler()
    scheduler.load.acquire("p1", Role.PREFILL, 4000, yields_until_s=NOW_S + 1)
    given_to(scheduler, "p2", 100)
    assert scheduler.prefill(FLEET, NOW_S, CONFIG, PROMPT) == P1
    assert scheduler.prefill(FLEET, NOW_S, CONFIG, PROMPT, deferred=True) == P2
    assert scheduler.prefill(FLEET, NOW_S + 1, CONFIG, PROMPT) == P2


@pytest.mark.parametrize("settings", [CONFIG, BLIND], ids=["with a profile", "without one"])
def test_one_long_prompt_is_more_work_than_several_short_ones(settings: Any) -> None:
    scheduler = Scheduler()
    given_to(scheduler, "p1", 4000)
    given_to(scheduler, "p2", 100, 100, 100)
    assert scheduler.prefill(FLEET, NOW_S, settings, PROMPT) == P2


def test_one_prompt_is_more_work_than_two_halves_where_attention_counts() -> None:
    scheduler = Scheduler()
    given_to(scheduler, "p1", 4000)
    given_to(scheduler, "p2", 2010, 2010)
    assert scheduler.prefill(FLEET, NOW_S, CONFIG, PROMPT) == P1
    assert scheduler.prefill(FLEET, NOW_S, SQUARES, PROMPT) == P2


def test_decode_weighs_requests_against_their_contexts() -> None:
    """A sequence costs as much as a thousand tokens of context."""
    scheduler = Scheduler()
    decoding(scheduler, "d1", 5000)
    decoding(scheduler, "d2", 100, 100, 100)
    assert scheduler.decode(FLEET, NOW_S, CONFIG, "r1", ()) == D2
    decoding(scheduler, "d2", 100, 100, 100)
    assert scheduler.decode(FLEET, NOW_S, CONFIG, "r1", ()) == D1


def test_decode_counts_tokens_alone_where_nothing_is_known_of_the_engines() -> None:
    scheduler = Scheduler()
    decoding(scheduler, "d1", 5000)
    decoding(scheduler, "d2", 100, 100, 100)
    assert scheduler.decode(FLEET, NOW_S, BLIND, "r1", ()) == D2


def test_what_a_stream_has_generated_counts_as_context() -> None:
    scheduler = Scheduler()
    scheduler.load.acquire("d1", Role.DECODE, 100, computed=True).generated(500)
    decoding(scheduler, "d2", 300)
    assert scheduler.decode(FLEET, NOW_S, CONFIG, "r1", ()) == D2


def test_a_request_for_one_engine_goes_where_its_first_token_is_due_first() -> None:
    scheduler, both = Scheduler(), table(D1, D2)
    scheduler.load.acquire("d1", Role.DECODE, 1000)
    decoding(scheduler, "d2", 1000, 1000)
    assert scheduler.aggregated(both, NOW_S, CONFIG, PROMPT) == D2


def busy(scheduler: Scheduler) -> None:
    """Prefill has 1.6 s of work on its less busy engine: beyond 0.8 of the target of 2 s."""
    given_to(scheduler, "p1", 1600)
    given_to(scheduler, "p2", 1700)


def nothing(scheduler: Scheduler) -> None:
    """An idle fleet."""


def calm(scheduler: Scheduler) -> None:
    """1.5 s with its own and both calls."""
    given_to(scheduler, "p1", 1360)
    given_to(scheduler, "p2", 1400)


def no_sooner(scheduler: Scheduler) -> None:
    """Decode engines have as many prompts of their own."""
    busy(scheduler)
    for name in ("d1", "d2"):
        scheduler.load.acquire(name, Role.DECODE, 1650)


def beyond_target(scheduler: Scheduler) -> None:
    """Prefill needs 4 s; decode less, but more than the target."""
    given_to(scheduler, "p1", 4000)
    given_to(scheduler, "p2", 4000)
    for name in ("d1", "d2"):
        scheduler.load.acquire(name, Role.DECODE, 1950)


def steps_slow(scheduler: Scheduler) -> None:
    """Steps of decode engines take 80 ms already."""
    busy(scheduler)
    for name in ("d1", "d2"):
        decoding(scheduler, name, *[100] * 69)


def kv_full(scheduler: Scheduler) -> None:
    """Decode engines hold all the KV they can."""
    busy(scheduler)
    for name in ("d1", "d2"):
        decoding(scheduler, name, 50_000)


def batch_full(scheduler: Scheduler) -> None:
    """Decode engines have four requests each."""
    busy(scheduler)
    for name in ("d1", "d2"):
        decoding(scheduler, name, *[100] * 4)


def yielding(scheduler: Scheduler, crowded_out: bool) -> None:
    """Prefill is busy, and has prompts that yield besides."""
    busy(scheduler)
    for name in ("p1", "p2"):
        scheduler.load.acquire(name, Role.PREFILL, 2500, yields_until_s=NOW_S + 60, crowded_out=crowded_out)


def crowded(scheduler: Scheduler) -> None:
    """Those that yield would be in time on an idle engine."""
    yielding(scheduler, crowded_out=True)


def only_too_long(scheduler: Scheduler) -> None:
    """They would not."""
    yielding(scheduler, crowded_out=False)


@pytest.mark.parametrize(
    ("state", "changes", "local"),
    [
        pytest.param(busy, {}, True, id="prefill late, decode idle"),
        pytest.param(crowded, {}, False, id="an overload, for prompts are crowded out"),
        pytest.param(only_too_long, {}, True, id="prompts too long for any engine yield: no overload"),
        pytest.param(nothing, {}, False, id="nothing to do anywhere"),
        pytest.param(calm, {}, False, id="prefill busy but in time, though decode would be sooner"),
        pytest.param(no_sooner, {}, False, id="decode is no sooner"),
        pytest.param(beyond_target, {}, False, id="decode is sooner and too late as well"),
        pytest.param(steps_slow, {}, False, id="one more in the batch would miss the TPOT target"),
        pytest.param(steps_slow, {"tpot_target_s": 0.1}, True, id="the same with a looser one"),
        pytest.param(
            kv_full, {"costs": COSTS.model_copy(update={"kv_tokens": 50_000})}, False, id="no KV left"
        ),
        pytest.param(kv_full, {}, True, id="the same with a larger cache"),
        pytest.param(
            batch_full,
            {"costs": COSTS.model_copy(update={"max_batch": 4})},
            False,
            id="no place in the batch",
        ),
        pytest.param(batch_full, {}, True, id="the same with more places"),
        pytest.param(busy, {"costs": None}, False, id="nothing is known of the engines"),
        pytest.param(busy, {"local_prefill": False}, False, id="switched off"),
    ],
)
def test_a_decode_engine_prefills_only_what_would_be_late_and_what_it_can_take(
    state: Callable[[Scheduler], None], changes: dict[str, Any], local: bool
) -> None:
    scheduler = Scheduler()
    state(scheduler)
    settings = config(**changes)
    prefill = scheduler.prefill(FLEET, NOW_S, settings, PROMPT)
    assert prefill is not None
    assert scheduler.prefills_locally(FLEET, NOW_S, settings, prefill, PROMPT) is local


def test_an_engine_without_a_role_prefills_late_prompts_where_it_decodes() -> None:
    scheduler, mixed = Scheduler(), table(P1, B1)
    given_to(scheduler, "p1", 1600)
    assert scheduler.prefills_locally(mixed, NOW_S, CONFIG, P1, PROMPT)


def test_another_prefill_engine_is_never_taken_for_a_local_one() -> None:
    """The decode engine has just failed; what is left to serve alone is a prefill engine, and that gains nothing."""
    scheduler, fleet = Scheduler(), table(P1, P2, D1)
    busy(scheduler)
    scheduler.load.failed("d1", NOW_S, unreachable=True)
    assert not scheduler.prefills_locally(fleet, NOW_S, CONFIG, P1, PROMPT)


@pytest.mark.parametrize(
    ("prompt", "too_long"),
    [
        pytest.param(Prompt(1960), False, id="with both calls just in time"),
        pytest.param(Prompt(1961), True, id="a token longer"),
        pytest.param(Prompt(2500, {"p1": 540}), False, id="the rest is in its cache"),
        pytest.param(Prompt(2500, {"p2": 540}), True, id="or in that of another"),
    ],
)
def test_a_prompt_is_too_long_that_an_idle_engine_would_not_serve_in_time(
    prompt: Prompt, too_long: bool
) -> None:
    scheduler = Scheduler()
    given_to(scheduler, "p1", 5000)
    assert scheduler.too_long(CONFIG, P1, prompt) is too_long


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from([Role.PREFILL, Role.DECODE]),
        st.integers(0, 5000),
        st.booleans(),
        st.lists(st.integers(0, 300), max_size=3),
        st.sampled_from([NEVER, 1.0]),
        st.floats(0, 1),
        st.booleans(),
    ),
    max_size=12,
)


@given(STEPS, st.randoms())
def test_every_claim_leaves_an_account_as_it_was(steps: list[Any], random: Any) -> None:
    load = Load()
    claims = [
        load.acquire(name, role, tokens, computed, until_s, int(hit * tokens), crowded_out)
        for name, role, tokens, computed, _, until_s, hit, crowded_out in steps
    ]
    for claim, (*_, generated, _, _, _) in zip(claims, steps, strict=True):
        for tokens in generated:
            claim.generated(tokens)
    for name in load.engines():
        account = load.account(name)
        assert 0 <= account.prompts <= account.requests
        assert min(account.prompt_tokens, account.prompt_squares, account.context_tokens) >= 0
        assert 0 <= account.crowded_out <= account.prompts
        assert 0 <= account.deferred_tokens <= account.prompt_tokens <= account.prompt_kv_tokens
    random.shuffle(claims)
    for claim in claims:
        claim.release()
    for name in load.engines():
        assert load.account(name) == Account(turn=load.account(name).turn)
