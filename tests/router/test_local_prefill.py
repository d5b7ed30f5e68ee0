"""Prompts that the prefill engines would serve late are prefilled where they are decoded, and it is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from router.conftest import Bench
from scheduling.world import COSTS
from waiting import until

LATE = "pdrouter_aggregated_total{reason=prefill_late}"


@pytest.fixture
async def burst(pair: Bench) -> AsyncIterator[Bench]:
    """The prefill engine has a prompt of 1.5 s; with 0.1 s of its own the next is beyond 0.8 of the target."""
    pair.config(costs=COSTS, local_prefill=True)
    async with pair.prefilling(1500):
        yield pair


async def test_a_late_prompt_is_served_by_the_decode_engine_alone(burst: Bench) -> None:
    assert (await burst.post(prompt=[1] * 100))[0] == 200
    assert burst.engines["d"].bodies == [{"model": "tiny", "prompt": [1] * 100}]
    samples = await burst.samples()
    assert samples[LATE] == 1
    assert samples["pdrouter_requests_total{outcome=ok,path=aggregated}"] == 1


async def test_without_a_profile_it_waits_for_prefill(burst: Bench) -> None:
    burst.config(costs=None)
    waiting = asyncio.create_task(burst.post(prompt=[1] * 100))
    await until(lambda: burst.engines["p"].running == 2)
    assert burst.engines["d"].bodies == []
    assert (await burst.samples())[LATE] == 0
    waiting.cancel()


async def test_a_stream_that_is_prefilled_locally_is_a_prompt_until_its_first_token(burst: Bench) -> None:
    gate = burst.engines["d"].hold()
    stream = asyncio.create_task(burst.stream(prompt=[1] * 100))
    account = burst.fleet.scheduler.load.account
    await until(lambda: account("d").prompt_tokens == 100)
    burst.engines["d"].token_s = 0.05
    gate.set()
    await until(lambda: account("d").context_tokens > 100)
    assert account("d").prompt_tokens == 0
    await stream


async def test_the_length_of_a_text_is_known_roughly_before_any_has_finished(burst: Bench) -> None:
    """4 characters a token: 400 characters are 100 tokens to decode with."""
    gate = burst.engines["d"].hold()
    asked = asyncio.create_task(burst.post(prompt="word" * 100))
    await until(lambda: burst.fleet.scheduler.load.account("d").prompt_tokens == 100)
    gate.set()
    await asked
