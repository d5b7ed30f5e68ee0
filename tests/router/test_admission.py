"""What the router knows of demand when it admits a request, and what it counts when one ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pdoperator.router.prompt import PromptSize, TokenEstimate, prompt_size
from router.conftest import Bench
from waiting import until


@pytest.mark.parametrize(
    ("prompt", "size"),
    [
        ([1, 2, 3], PromptSize(tokens=3)),
        ([[1, 2], [3]], PromptSize(tokens=3)),
        ("four", PromptSize(characters=4)),
        (["four", "three"], PromptSize(characters=9)),
        ([], PromptSize()),
        (7, PromptSize()),
    ],
)
def test_the_size_of_a_prompt(prompt: Any, size: PromptSize) -> None:
    assert prompt_size({"prompt": prompt}, chat=False) == size


def test_the_size_of_a_chat_is_all_its_text_and_its_tools() -> None:
    parts = [{"type": "text", "text": "abc"}, {"type": "image_url", "image_url": {"url": "data:..."}}]
    body = {"messages": [{"role": "user", "content": "hello"}, {"content": parts}, "odd"], "tools": [1]}
    assert prompt_size(body, chat=True) == PromptSize(characters=5 + 3 + 3)


def test_text_is_estimated_by_what_finished_and_token_ids_teach_nothing() -> None:
    estimate = TokenEstimate()
    assert estimate.tokens(PromptSize(characters=400)) is None
    estimate.learn(PromptSize(tokens=10), 10)
    assert estimate.tokens(PromptSize(characters=400)) is None
    estimate.learn(PromptSize(characters=400), 100)
    assert estimate.tokens(PromptSize(characters=200)) == pytest.approx(50)
    assert estimate.tokens(PromptSize(tokens=7)) == 7


def test_the_estimate_follows_a_change_of_language() -> None:
    estimate = TokenEstimate()
    for _ in range(100):
        estimate.learn(PromptSize(characters=400), 100)
    for _ in range(500):
        estimate.learn(PromptSize(characters=400), 400)
    tokens = estimate.tokens(PromptSize(characters=400))
    assert tokens == pytest.approx(400, rel=0.02)


async def test_token_ids_are_demand_before_anything_has_finished(pair: Bench) -> None:
    await pair.post(prompt=[1] * 30)
    await pair.post(prompt=[1] * 10)
    samples = await pair.samples()
    assert samples["pdrouter_admitted_sized_total{source=exact}"] == 2
    assert samples["pdrouter_admitted_input_tokens_total{}"] == 40
    assert samples["pdrouter_admitted_input_tokens_squared_total{}"] == 1000


async def test_input_and_output_tokens_are_multiplied_request_by_request(pair: Bench) -> None:
    for _ in range(2):
        await pair.post()
    samples = await pair.samples()
    isl, osl = (samples[f"pdrouter_request_{kind}_tokens_sum{{}}"] / 2 for kind in ("input", "output"))
    assert samples["pdrouter_request_token_product_sum{}"] == 2 * isl * osl > 0
    assert samples["pdrouter_request_token_product_count{}"] == 2


async def test_text_is_demand_from_the_second_request_on(pair: Bench) -> None:
    await pair.post(prompt="some words")
    assert (await pair.samples())["pdrouter_admitted_sized_total{source=estimated}"] == 0
    await pair.post(prompt="some words")
    samples = await pair.samples()
    assert samples["pdrouter_admitted_sized_total{source=estimated}"] == 1
    assert (
        samples["pdrouter_admitted_input_tokens_total{}"]
        == samples["pdrouter_request_input_tokens_sum{}"] / 2
    )


async def test_failures_are_judged_and_a_clients_faults_are_not(bench: Bench) -> None:
    assert (await bench.post())[0] == 503
    assert (await bench.post(model="another"))[0] == 404
    samples = await bench.samples()
    assert samples["pdrouter_requests_judged_total{}"] == 1
    assert samples["pdrouter_requests_within_slo_total{}"] == 0


async def test_kv_is_held_for_export_from_the_prefill_to_the_first_token(pair: Bench) -> None:
    gate = pair.engines["d"].hold()
    asked = asyncio.create_task(pair.stream())
    await _until(pair, 1)
    gate.set()
    await asked
    await _until(pair, 0)


async def test_kv_that_nobody_will_take_is_not_held(pair: Bench) -> None:
    pair.engines["d"].hold()
    asked = asyncio.create_task(pair.stream())
    await _until(pair, 1)
    asked.cancel()
    await _until(pair, 0)


async def _until(bench: Bench, exports: int) -> None:
    await until(lambda: bench.fleet.scheduler.load.account("p").exports == exports)
