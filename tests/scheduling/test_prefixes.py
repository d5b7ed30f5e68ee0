"""What engines are taken to have in their prefix caches, and how it is weighed against their queues."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api.names import Role
from pdoperator.scheduling.pick import Scheduler
from pdoperator.scheduling.prefixes import Chain, Prefixes, Prompt
from scheduling.world import BLIND, CONFIG, COSTS, D1, D2, NOW_S, P1, P2, config, table

BLOCK_TOKENS = 100
PLENTY = 10**9
FLEET = table(P1, P2, D1, D2)


def chain(text: str) -> Chain:
    """Each letter is a block of 100 tokens."""
    return Chain(tuple(hash(text[: n + 1]) for n in range(len(text))), 1 / max(1, len(text)))


def send(prefixes: Prefixes, engine: str, text: str, limit_tokens: int = PLENTY) -> None:
    prefixes.sent(engine, chain(text), BLOCK_TOKENS * len(text), limit_tokens)


def cached(prefixes: Prefixes, text: str) -> dict[str, int]:
    return dict(prefixes.prompt(chain(text), BLOCK_TOKENS * len(text)).cached)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("abcd", {"p1": 300, "p2": 200}, id="a conversation that goes on"),
        pytest.param("abxd", {"p1": 200, "p2": 200}, id="another turn after the same beginning"),
        pytest.param("xbcd", {}, id="the same end after another beginning"),
        pytest.param(
            "abc", {"p1": 299, "p2": 200}, id="the whole prompt: its last token is computed all the same"
        ),
        pytest.param("", {}, id="a prompt too short for a block"),
    ],
)
def test_an_engine_has_what_a_prompt_has_in_common_with_those_it_was_sent(
    text: str, found: dict[str, int]
) -> None:
    prefixes = Prefixes()
    send(prefixes, "p1", "abc")
    send(prefixes, "p2", "ab")
    assert cached(prefixes, text) == found


def test_the_end_of_what_was_not_used_for_longest_is_forgotten_first() -> None:
    prefixes = Prefixes()
    send(prefixes, "p1", "abc", 500)
    send(prefixes, "p1", "xy", 500)
    assert cached(prefixes, "abcd") == {"p1": 300}
    send(prefixes, "p1", "z", 500)
    assert cached(prefixes, "abcd") == {"p1": 200}
    assert cached(prefixes, "xyz") == {"p1": 200}


def test_what_is_used_again_is_kept() -> None:
    prefixes = Prefixes()
    send(prefixes, "p1", "ab", 400)
    send(prefixes, "p1", "xy", 400)
    send(prefixes, "p1", "ab", 400)
    send(prefixes, "p1", "z", 400)
    assert cached(prefixes, "abc") == {"p1": 200}
    assert cached(prefixes, "xyz") == {"p1": 100}


def test_an_engine_that_is_gone_has_nothing_and_another_in_its_place_does_not_inherit() -> None:
    prefixes = Prefixes()
    send(prefixes, "p1", "abc")
    send(prefixes, "p2", "ab")
    prefixes.keep(["p2"])
    send(prefixes, "p3", "x")
    assert cached(prefixes, "abcd") == {"p2": 200}
    prefixes.forget("p2")
    prefixes.forget("never seen")
    assert cached(prefixes, "abcd") == {}


ENGINES = st.sampled_from(["a", "b", "c"])
WORDS = st.text("xyz", max_size=6)
STEPS = st.lists(
    st.tuples(st.just("send"), ENGINES, WORDS) | st.tuples(st.just("forget"), ENGINES, st.just(""))
)


@given(STEPS, WORDS, st.integers(0, 12))
def test_it_finds_what_a_cache_for_each_engine_would_have(steps: list[Any], text: str, limit: int) -> None:
    """Against the plainest model of it: one list of blocks an engine, looked through engine by engine."""
    prefixes, plain = Prefixes(), {name: OrderedDict[int, None]() for name in "abc"}
    for what, engine, word in steps:
        if what == "forget":
            prefixes.forget(engine)
            plain[engine].clear()
            continue
        send(prefixes, engine, word, limit * BLOCK_TOKENS)
        for block in reversed(chain(word).blocks):
            plain[engine][block] = None
            plain[engine].move_to_end(block)
        while len(plain[engine]) > limit:
            plain[engine].popitem(last=False)
    expected = {}
    for name, blocks in plain.items():
        depth = next((n for n, b in enumerate(chain(text).blocks) if b not in blocks), len(text))
        if depth:
            expected[name] = min(depth * BLOCK_TOKENS, len(text) * BLOCK_TOKENS - 1)
    assert cached(prefixes, text) == expected
    for engine in "abc":
        prefixes.forget(engine)
    assert cached(prefixes, text) == {}
    assert not prefixes._holders  # nothing is left behind


@pytest.mark.parametrize("settings", [CONFIG, BLIND], ids=["with a profile", "without one"])
@pytest.mark.parametrize(
    ("queued", "picked"),
    [
        pytest.param(0, P1, id="idle: where the prefix is"),
        pytest.param(799, P1, id="busy, but with less than the prefix would cost elsewhere"),
        pytest.param(801, P2, id="busy with more: no hotspot"),
    ],
)
def test_a_cached_prefix_is_worth_as_much_queue_as_it_saves_prefill(
    settings: Any, queued: int, picked: Any
) -> None:
    scheduler = Scheduler()
    if queued:
        scheduler.load.acquire("p1", Role.PREFILL, queued)
    assert scheduler.prefill(FLEET, NOW_S, settings, Prompt(1000, {"p1": 800})) == picked


def test_a_queue_of_prompts_that_are_cached_is_short() -> None:
    scheduler = Scheduler()
    scheduler.load.acquire("p1", Role.PREFILL, 4000, cached=3950)
    scheduler.load.acquire("p2", Role.PREFILL, 100)
    assert scheduler.prefill(FLEET, NOW_S, CONFIG, Prompt(1000)) == P1


def test_alone_too_an_engine_gives_the_first_token_sooner_where_the_prefix_is() -> None:
    scheduler, both = Scheduler(), table(D1, D2)
    scheduler.load.acquire("d2", Role.DECODE, 500)
    assert scheduler.aggregated(both, NOW_S, CONFIG, Prompt(1000, {"d2": 800})) == D2
    assert scheduler.aggregated(both, NOW_S, CONFIG, Prompt(1000)) == D1


def test_what_is_cached_takes_no_steps_beside_decodes() -> None:
    """Parts of at most 50 tokens beside 50 decodes, in steps of 60 ms: for 1,000 tokens 1.2 s, for the last 50 of them
    one step. The idle engine needs 1.1 s."""
    scheduler, both = Scheduler(), table(D1, D2)
    settings = config(costs=COSTS.model_copy(update={"batched_tokens": 100}))
    for _ in range(50):
        scheduler.load.acquire("d2", Role.DECODE, 1, computed=True)
    assert scheduler.aggregated(both, NOW_S, settings, Prompt(1000, {"d2": 950})) == D2
    assert scheduler.aggregated(both, NOW_S, settings, Prompt(1000)) == D1


def test_a_prompt_is_late_by_what_of_it_is_to_be_computed() -> None:
    """1.6 s before it and 1 s of its own is beyond the target of 2 s, unless most of it is cached."""
    scheduler = Scheduler()
    for engine in ("p1", "p2"):
        scheduler.load.acquire(engine, Role.PREFILL, 1600)
    settings = config(deferral_s=60.0, costs=COSTS.model_copy(update={"batched_tokens": 100}))
    assert scheduler.defers(settings, P1, Prompt(1000), aggregated=False)
    assert not scheduler.defers(settings, P1, Prompt(1000, {"p1": 950}), aggregated=False)
    assert scheduler.prefills_locally(FLEET, NOW_S, CONFIG, P1, Prompt(1000))
    assert not scheduler.prefills_locally(FLEET, NOW_S, CONFIG, P1, Prompt(2500, {"p1": 2400}))
    assert scheduler.prefills_locally(FLEET, NOW_S, CONFIG, P1, Prompt(2500, {"d2": 2400}))


def test_a_cached_prefix_takes_as_much_room_as_any() -> None:
    """Prefill is late; the decode engine's KV has room for 1,000 tokens, but 900 are promised to a cached prompt."""
    scheduler, fleet = Scheduler(), table(P1, D1)
    settings = config(costs=COSTS.model_copy(update={"kv_tokens": 1000}))
    scheduler.load.acquire("p1", Role.PREFILL, 1900)
    assert scheduler.prefills_locally(fleet, NOW_S, settings, P1, Prompt(200))
    scheduler.load.acquire("d1", Role.DECODE, 900, cached=890)
    assert not scheduler.prefills_locally(fleet, NOW_S, settings, P1, Prompt(200))
