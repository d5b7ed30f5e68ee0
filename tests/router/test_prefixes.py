"""Prompts that begin alike go to the engine that has computed the beginning, as far as its queue allows."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.router.prompt import prefix_chain
from pdoperator.scheduling.engines import Engine
from router.conftest import Bench
from scheduling.world import COSTS
from waiting import until

QUERIES, HITS = "pdrouter_prefix_cache_queries_total{}", "pdrouter_prefix_cache_hits_total{}"
LONG = "In the beginning was a system prompt. " * 100


def message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


TURN = [message("system", LONG), message("user", "Hello?")]
NEXT_TURN = [*TURN, message("assistant", "Hi!"), message("user", "And now?")]


def in_common(one: dict[str, Any], other: dict[str, Any], chat: bool) -> int:
    """Blocks that both prompts begin with."""
    pairs = zip(prefix_chain(one, chat).blocks, prefix_chain(other, chat).blocks, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), len(prefix_chain(one, chat).blocks))


@pytest.mark.parametrize(
    ("one", "other", "chat", "alike"),
    [
        pytest.param({"messages": TURN}, {"messages": NEXT_TURN}, True, True, id="a chat and its next turn"),
        pytest.param(
            {"messages": TURN, "max_tokens": 5},
            {"temperature": 0, "messages": TURN},
            True,
            True,
            id="whatever else is asked for",
        ),
        pytest.param({"prompt": LONG}, {"prompt": LONG + "!"}, False, True, id="a text that goes on"),
        pytest.param(
            {"prompt": [7] * 1000}, {"prompt": [7] * 1000 + [8]}, False, True, id="token ids that go on"
        ),
        pytest.param({"prompt": LONG}, {"prompt": "!" + LONG}, False, False, id="another beginning"),
        pytest.param(
            {"messages": TURN, "cache_salt": "a"},
            {"messages": TURN, "cache_salt": "b"},
            True,
            False,
            id="another tenant's chat",
        ),
        pytest.param(
            {"prompt": LONG}, {"prompt": LONG, "cache_salt": "b"}, False, False, id="another tenant's text"
        ),
        pytest.param(
            {"messages": TURN, "tools": [{"type": "function"}]},
            {"messages": TURN},
            True,
            False,
            id="tools, which templates put first",
        ),
    ],
)
def test_prompts_have_in_common_what_engines_compute_alike(
    one: dict[str, Any], other: dict[str, Any], chat: bool, alike: bool
) -> None:
    blocks = len(prefix_chain(one, chat).blocks)
    assert blocks >= 3
    assert in_common(one, other, chat) >= (blocks - 1 if alike else 0)
    assert alike or in_common(one, other, chat) == 0


def test_a_hash_tells_nobody_outside_the_process_what_was_asked() -> None:
    program = (
        "from pdoperator.router.prompt import *; print(prefix_chain({'prompt': 'x' * 999}, False).blocks)"
    )
    command, env = (
        [sys.executable, "-c", program],
        {k: v for k, v in os.environ.items() if k != "PYTHONHASHSEED"},
    )
    one, other = (subprocess.check_output(command, env=env) for _ in range(2))
    assert one != other


def test_hashing_a_huge_prompt_is_bounded() -> None:
    chain = prefix_chain({"prompt": "x" * (4 << 20)}, False)
    assert len(chain.blocks) == defaults.PREFIX_BLOCKS
    assert chain.share * len(chain.blocks) == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize("body", [{}, {"prompt": None}, {"prompt": ""}, {"prompt": "short"}])
def test_a_short_or_missing_prompt_has_no_blocks(body: dict[str, Any]) -> None:
    assert prefix_chain(body, False).blocks == ()


@pytest.fixture
async def three(bench: Bench) -> Bench:
    """Two prefill engines and a decode engine."""
    for name, role in (("p1", Role.PREFILL), ("p2", Role.PREFILL), ("d", Role.DECODE)):
        await bench.add(name, role)
    return bench


def served(bench: Bench) -> list[int]:
    """Prompts that each prefill engine got."""
    return [len(bench.engines[name].bodies) for name in ("p1", "p2")]


async def test_a_conversation_stays_where_it_began(three: Bench) -> None:
    for _ in range(4):
        assert (await three.post(prompt=LONG))[0] == 200
    assert sorted(served(three)) == [0, 4]


async def test_what_is_predicted_to_be_cached_is_counted(three: Bench) -> None:
    prompt = list(range(1000, 2000))
    for _ in range(2):
        await three.post(prompt=prompt)
    samples = await three.samples()
    assert samples[QUERIES] == 2000
    assert 800 < samples[HITS] < 1000


async def test_without_prefix_caches_engines_take_turns(three: Bench) -> None:
    three.config(prefix_caching=False)
    for _ in range(4):
        await three.post(prompt=LONG)
    assert served(three) == [2, 2]
    assert (await three.samples())[HITS] == 0


async def test_an_engine_that_was_not_ready_has_nothing_any_more(three: Bench) -> None:
    await three.post(prompt=LONG)
    first = "p1" if served(three) == [1, 0] else "p2"
    three.show(**{first: {"ready": False}})
    three.show()
    await three.post(prompt=LONG)
    assert served(three) == [1, 1]


async def test_a_flip_and_back_keeps_the_cache(three: Bench) -> None:
    await three.post(prompt=LONG)
    first = "p1" if served(three) == [1, 0] else "p2"
    three.show(**{first: {"role": Role.DECODE}})
    three.show()
    await three.post(prompt=LONG)
    assert sorted(served(three)) == [0, 2]


async def test_an_engine_that_could_not_be_reached_has_nothing_any_more(three: Bench) -> None:
    await three.post(prompt=LONG)
    first, second = ("p1", "p2") if served(three) == [1, 0] else ("p2", "p1")
    three.show(**{first: {"address": "127.0.0.1:1"}})
    assert (await three.post(prompt=LONG))[0] == 200
    chain = prefix_chain({"prompt": LONG}, False)
    assert three.fleet.scheduler.prefixes.prompt(chain, 1000).cached.keys() == {second, "d"}


async def test_a_queue_longer_than_the_prefix_saves_sends_it_elsewhere(three: Bench) -> None:
    three.config(costs=COSTS)
    prompt = [5] * 1000
    await three.post(prompt=prompt)
    first = "p1" if served(three) == [1, 0] else "p2"
    three.fleet.scheduler.load.acquire(first, Role.PREFILL, 1500)
    await three.post(prompt=prompt)
    assert served(three) == [1, 1]


async def test_prompts_that_come_at_once_do_not_queue_where_their_beginning_is(three: Bench) -> None:
    """They have 0.5 s in common, and each has 1 s of its own. llm-d-router#2515: a burst met scores that did not count
    it yet, and went to one endpoint."""
    three.config(costs=COSTS)
    common = [5] * 500
    await three.post(prompt=common)
    gates = [three.engines[name].hold() for name in ("p1", "p2")]
    prompts = [common + [1000 + n] * 1000 for n in range(6)]
    asked = [asyncio.create_task(three.post(prompt=prompt)) for prompt in prompts]
    await until(lambda: sum(three.engines[name].running for name in ("p1", "p2")) == 6)
    assert [three.engines[name].running for name in ("p1", "p2")] == [3, 3]
    for gate in gates:
        gate.set()
    assert {status for status, _ in await asyncio.gather(*asked)} == {200}


async def test_decode_engines_have_the_prompts_too_that_they_were_handed(three: Bench) -> None:
    await three.post(prompt=[5] * 1000)
    rows = [three.engines["d"].engine(), Engine("e", "127.0.0.1:1", Role.DECODE, None, "r1", ready=True)]
    three.fleet.set_engines(rows)
    assert (await three.post(prompt=[5] * 1000))[0] == 200
    assert len(three.engines["d"].bodies) == 2
    assert (await three.samples())[HITS] > 700
