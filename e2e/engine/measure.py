"""Fit a profile to a running engine: TTFT over prompt length, time between tokens over batch and context.

``ttft_s = a + b*isl + c*isl^2`` and ``itl_s = a + b*batch + c*batch*context``, least squares of relative errors,
no negative coefficient. As a program: ``PYTHONPATH=e2e python -m engine.measure http://127.0.0.11:8000 tiny`` prints
one JSON object. Keep the machine quiet meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import random
import re
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import numpy as np

PROMPT_TOKENS = (64, 256, 512, 1024, 1800)
BATCHES = (1, 4, 8, 16)
CONTEXT_TOKENS = (32, 400, 1200)
REPEATS = 5
OUTPUT_TOKENS = 48
REQUEST_LIMIT_S = 300.0


async def stream_times(
    session: aiohttp.ClientSession, url: str, model: str, isl: int, osl: int, seed: int
) -> list[float]:
    """Monotonic times: the sending of one request of ``isl`` random tokens, then each output token's arrival."""
    body = {
        "model": model, "prompt": random.Random(seed).choices(range(300, 2000), k=isl),
        "stream": True, "return_token_ids": True,
        "max_tokens": osl, "min_tokens": osl, "ignore_eos": True, "temperature": 0,
    }  # fmt: skip
    times = [time.monotonic()]
    async with session.post(f"{url}/v1/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if line.startswith(b"data: {"):
                tokens = sum(len(choice["token_ids"] or ()) for choice in json.loads(line[6:])["choices"])
                times += [time.monotonic()] * tokens
    return times


async def measure(url: str, model: str) -> dict[str, Any]:
    """Points and fits of one engine, and the KV capacity it reports."""
    seeds = itertools.count(int(time.time()))
    timeout = aiohttp.ClientTimeout(total=REQUEST_LIMIT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        await stream_times(session, url, model, 64, 8, next(seeds))  # warm-up
        ttft = [(isl, await _ttft(session, url, model, isl, seeds)) for isl in PROMPT_TOKENS]
        itl = []
        for batch, context in itertools.product(BATCHES, CONTEXT_TOKENS):
            gap_s = await _itl(session, url, model, batch, context, seeds)
            if not math.isnan(gap_s):
                itl.append((batch, context + OUTPUT_TOKENS // 2, gap_s))
        kv_tokens = await _kv_tokens(session, url)
    return {
        "ttft_s": fit([(1.0, isl, isl * isl) for isl, _ in ttft], [t for _, t in ttft]),
        "itl_s": fit([(1.0, batch, batch * context) for batch, context, _ in itl], [t for *_, t in itl]),
        "kv_tokens": kv_tokens,
        "points": {"ttft": ttft, "itl": itl},
    }


async def _ttft(
    session: aiohttp.ClientSession, url: str, model: str, isl: int, seeds: itertools.count[int]
) -> float:
    samples = []
    for _ in range(REPEATS):
        sent, first, *_ = await stream_times(session, url, model, isl, 1, next(seeds))
        samples.append(first - sent)
    return statistics.median(samples)


async def _itl(
    session: aiohttp.ClientSession,
    url: str,
    model: str,
    batch: int,
    context: int,
    seeds: itertools.count[int],
) -> float:
    """Mean gap per token while all ``batch`` requests decode together; their prompt is prefilled before."""
    seed = next(seeds)
    await stream_times(session, url, model, context, 1, seed)
    running = [stream_times(session, url, model, context, OUTPUT_TOKENS, seed) for _ in range(batch)]
    streams = [times[1:] for times in await asyncio.gather(*running)]
    start, end = max(times[0] for times in streams), min(times[-1] for times in streams)
    together = sum(start < t <= end for times in streams for t in times)
    return (end - start) * batch / together if together else math.nan


async def _kv_tokens(session: aiohttp.ClientSession, url: str) -> int | None:
    async with session.get(f"{url}/metrics") as answer:
        answer.raise_for_status()
        found = re.search(r'vllm:cache_config_info\{.*?kv_cache_size_tokens="(\d+)"', await answer.text())
    return int(found.group(1)) if found else None


def fit(rows: Sequence[tuple[float, ...]], values: Sequence[float]) -> list[float]:
    """Coefficients of relative least squares, columns with a negative coefficient dropped one at a time."""
    weighted = np.array(rows, dtype=float) / np.array(values)[:, None]
    kept = list(range(weighted.shape[1]))
    while True:
        solution = np.linalg.lstsq(weighted[:, kept], np.ones(len(values)), rcond=None)[0]
        worst = int(np.argmin(solution))
        if solution[worst] >= 0 or len(kept) == 1:
            break
        del kept[worst]
    out = [0.0] * weighted.shape[1]
    for column, coefficient in zip(kept, solution, strict=True):
        out[column] = float(f"{coefficient:.4g}")
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description="Fit a profile to a running engine.")
    parser.add_argument("url")
    parser.add_argument("model")
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(measure(arguments.url, arguments.model))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
