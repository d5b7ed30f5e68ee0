"""Tokens of answers, by length, while they stream and when they end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from pdoperator.api.names import Role
from pdoperator.router.generated import AnswerTokens
from router.conftest import Bench
from router.fake_engine import event, start_stream


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def value(registry: CollectorRegistry, series: str, up_to: str) -> float | None:
    return registry.get_sample_value(f"pdrouter_{series}_total", {"up_to": up_to})


def test_a_token_counts_in_the_class_of_its_position(registry: CollectorRegistry) -> None:
    tokens = AnswerTokens(registry)
    for before, after in ((0, 3), (3, 3), (3, 9)):
        tokens.generated(before, after)
    assert [value(registry, "generated_tokens", up_to) for up_to in ("1", "2", "4", "8", "16", "32")] == [
        1, 1, 2, 4, 1, 0,
    ]  # fmt: skip


def test_an_answer_counts_in_the_class_of_its_length_with_all_its_tokens(registry: CollectorRegistry) -> None:
    tokens = AnswerTokens(registry)
    for length in (8, 9, 16, 200_000):
        tokens.ended(length)
    read = [value(registry, "output_tokens_by_length", up_to) for up_to in ("8", "16", "+Inf")]
    assert read == [8, 25, 200_000]


async def test_tokens_of_a_stream_count_while_it_runs(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def pause_after_three(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = await start_stream(request)
        for _ in range(3):
            await response.write(event(text="tok "))
        await go_on.wait()
        await response.write(event(text="tok ", finish="length") + b"data: [DONE]\n\n")
        return response

    await bench.add("d1", Role.DECODE, script=pause_after_three)
    body = {"model": "tiny", "prompt": "hello", "stream": True}
    async with bench.client.post(f"{bench.url}/v1/completions", json=body) as response:
        seen = b""
        while seen.count(b"tok") < 3:
            seen += await response.content.readany()
        assert await total(bench, "generated_tokens") == 3
        assert await total(bench, "output_tokens_by_length") == 0
        go_on.set()
        await response.read()
    assert await total(bench, "generated_tokens") == await total(bench, "output_tokens_by_length") == 4


async def total(bench: Bench, series: str) -> float:
    samples = await bench.samples()
    return sum(value for name, value in samples.items() if name.startswith(f"pdrouter_{series}_total{{"))


@pytest.mark.parametrize("stream", [True, False])
async def test_every_token_of_an_answer_counts_once(pair: Bench, stream: bool) -> None:
    await (pair.stream() if stream else pair.post())
    tokens = (await pair.samples())["pdrouter_request_output_tokens_sum{}"]
    assert await total(pair, "generated_tokens") == await total(pair, "output_tokens_by_length") == tokens > 0
