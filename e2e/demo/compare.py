"""Whether disaggregated answers equal aggregated ones: the same prompts through the router and on one engine alone."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

import aiohttp

from demo.traffic import VOCABULARY, completion

PROMPT_TOKENS = (17, 130, 300, 517, 900, 1500)
OUTPUT_TOKENS = 24
LIMIT = aiohttp.ClientTimeout(total=120)


@dataclass(frozen=True)
class Comparison:
    """How many outputs were compared, how many were equal token by token, and how long all of them took."""

    compared: int
    equal: int
    seconds: float


async def compare(router_url: str, engine_url: str, model: str, seed: int = 7) -> Comparison:
    """Compare at temperature 0. The engine alone computes with a cache salt, so that no transferred KV is reused."""
    draw, started = random.Random(seed), time.monotonic()
    equal = 0
    async with aiohttp.ClientSession(timeout=LIMIT) as session:
        for length in PROMPT_TOKENS:
            body = completion(model, draw.choices(VOCABULARY, k=length), OUTPUT_TOKENS)
            disaggregated = await _tokens(session, router_url, body)
            alone = await _tokens(session, engine_url, body | {"cache_salt": f"alone-{length}"})
            equal += disaggregated == alone and len(alone) == OUTPUT_TOKENS
    return Comparison(len(PROMPT_TOKENS), equal, time.monotonic() - started)


async def _tokens(session: aiohttp.ClientSession, url: str, body: dict[str, object]) -> list[int]:
    async with session.post(f"{url}/v1/completions", json=body) as response:
        response.raise_for_status()
        tokens: list[int] = (await response.json())["choices"][0]["token_ids"]
        return tokens


async def kv_tokens(engine_urls: list[str]) -> list[float | None]:
    """Prompt tokens that each engine took over by KV transfer, by its own counter; None where it does not answer."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        return list(await asyncio.gather(*(_kv_tokens(session, url) for url in engine_urls)))


async def _kv_tokens(session: aiohttp.ClientSession, url: str) -> float | None:
    try:
        async with session.get(f"{url}/metrics") as response:
            text = await response.text()
    except (TimeoutError, aiohttp.ClientError, OSError):
        return None
    lines = [line for line in text.splitlines() if line.startswith("vllm:prompt_tokens_by_source_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if 'source="external_kv_transfer"' in line)
