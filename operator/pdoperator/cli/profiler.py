"""Measuring a live vLLM engine through its OpenAI surface and its metrics; keep everything else away from it meanwhile.

All times are the event loop's. Prompts are token ids, another one each time, so that no prefix cache knows them.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson

from pdoperator.capacity.measurements import OUTPUT_TOKENS, ItlPoint, MixedPoint, SaturatedPoint, TtftPoint
from pdoperator.capacity.measuring import EngineInfo
from pdoperator.signals.exposition import Series, read_series, total

REPEATS = 5
REPEAT_WITHIN_S = 3.0  # long prompts are measured less often
TOKEN_IDS = range(100, 2000)  # in every vocabulary, and no special token
# A batch that decodes on after a prompt has come and gone, and the gaps between its tokens that tell the usual step.
MIXED_OUTPUT_TOKENS = 2 * OUTPUT_TOKENS
MIXED_REPEATS = 3
LEAST_GAPS = 8
METRICS = ("vllm:cache_config_info", "vllm:iteration_tokens_total_count")


class NotAnEngineError(Exception):
    """There is no vLLM engine that can be measured; the message is one line."""


class Profiler:
    """One engine. `seed` makes the prompts; another one makes others."""

    def __init__(self, session: aiohttp.ClientSession, url: str, model: str | None, seed: int) -> None:
        self._session, self._url, self._model = session, url.rstrip("/"), model
        self._random = random.Random(seed)

    async def info(self) -> EngineInfo:
        """What the engine says of itself. Raises NotAnEngineError."""
        models = await self._models()
        name = self._model or next(iter(models))
        if name not in models:
            raise NotAnEngineError(f"{self._url} does not serve {name!r}; it serves {', '.join(models)}")
        self._model = name
        metrics = await self._metrics()
        config = metrics.get("vllm:cache_config_info")
        if config is None:
            raise NotAnEngineError(f"{self._url}/metrics is not vLLM's: vllm:cache_config_info is not there")
        labels = config[0].labels
        kv_tokens = _kv_tokens(labels)
        if kv_tokens is None:
            raise NotAnEngineError(f"{self._url}/metrics does not say how large the KV cache is")
        longest = models[name].get("max_model_len") or kv_tokens
        return EngineInfo(name, kv_tokens, int(longest))

    async def warm_up(self) -> None:
        """Let the engine compile and allocate what it does at its first requests."""
        for isl in (16, 256):
            await self._tokens(self._prompt(isl), 8)

    async def ttft(self, isl_tokens: int) -> TtftPoint:
        """The median of a prompt that is alone."""
        seconds: list[float] = []
        for count in itertools.count(1):
            sent, first, *_ = await self._tokens(self._prompt(isl_tokens), 1)
            seconds.append(first - sent)
            if count == REPEATS or sum(seconds) > REPEAT_WITHIN_S:
                break
        return TtftPoint(isl_tokens, statistics.median(seconds))

    async def saturated(self, isl_tokens: int, at_once: int, prompts: int) -> SaturatedPoint:
        """`prompts` of them, `at_once` under way until none is left."""
        todo = iter([self._prompt(isl_tokens) for _ in range(prompts)])

        async def one_by_one() -> None:
            for prompt in todo:
                await self._tokens(prompt, 1)

        steps, started_s = await self._steps(), _now()
        await asyncio.gather(*(one_by_one() for _ in range(at_once)))
        seconds = _now() - started_s
        return SaturatedPoint(isl_tokens, prompts, seconds, round(await self._steps() - steps))

    async def itl(self, batch: int, context_tokens: int) -> tuple[ItlPoint | None, int]:
        """The mean step while all sequences decode together, None when they never did, and how many did at most."""
        prompt = self._prompt(context_tokens)
        await self._tokens(prompt, 1)  # where there is a prefix cache the batch starts at once
        times = await asyncio.gather(*(self._tokens(prompt, OUTPUT_TOKENS) for _ in range(batch)))
        start, end = max(stream[1] for stream in times), min(stream[-1] for stream in times)
        tokens = sum(start < t <= end for stream in times for t in stream)
        if not tokens:
            return None, _most_at_once([(stream[1], stream[-1]) for stream in times])
        return ItlPoint(batch, context_tokens + OUTPUT_TOKENS / 2, (end - start) * batch / tokens), batch

    async def mixed(self, batch: int, isl_tokens: int) -> MixedPoint | None:
        """By how much a prompt stretches a step of a batch that decodes short contexts; None when it met none."""
        extras: list[float] = []
        for _ in range(MIXED_REPEATS):
            begun = [asyncio.Event() for _ in range(batch)]
            streams = [
                asyncio.create_task(self._tokens(self._prompt(8), MIXED_OUTPUT_TOKENS, event))
                for event in begun
            ]
            await asyncio.gather(*(event.wait() for event in begun))
            sent, first = await self._tokens(self._prompt(isl_tokens), 1)
            for times in await asyncio.gather(*streams):
                gaps = list(itertools.pairwise(times[1:]))
                met = [b - a for a, b in gaps if b > sent and a < first]
                calm = [b - a for a, b in gaps if b <= sent or a >= first]
                if times[-1] > first and met and len(calm) >= LEAST_GAPS:
                    extras.append(max(met) - statistics.median(calm))
        return MixedPoint(batch, isl_tokens, statistics.median(extras)) if extras else None

    async def _tokens(self, prompt: list[int], count: int, begun: asyncio.Event | None = None) -> list[float]:
        """Times of sending the prompt and of each of its `count` output tokens; `begun` is set by the first token."""
        body = {
            "model": self._model, "prompt": prompt, "stream": True, "return_token_ids": True,
            "max_tokens": count, "min_tokens": count, "ignore_eos": True, "temperature": 0,
        }  # fmt: skip
        times = [_now()]
        async with self._session.post(f"{self._url}/v1/completions", json=body) as answer:
            if answer.status != HTTPStatus.OK:
                raise NotAnEngineError(
                    f"{self._url} answered {answer.status}: {' '.join((await answer.text()).split())}"
                )
            async for line in answer.content:
                if line.startswith(b"data: {"):
                    choices = orjson.loads(line[len("data: ") :])["choices"]
                    times += [_now()] * sum(len(choice.get("token_ids") or ()) for choice in choices)
                    if begun is not None and len(times) > 1:
                        begun.set()
        if len(times) != count + 1:
            raise NotAnEngineError(f"{self._url} gave {len(times) - 1} token ids of {count}; is it vLLM?")
        return times

    def _prompt(self, length: int) -> list[int]:
        return self._random.choices(TOKEN_IDS, k=length)

    async def _steps(self) -> float:
        steps = total(await self._metrics(), "vllm:iteration_tokens_total_count")
        if steps is None:
            raise NotAnEngineError(
                f"{self._url}/metrics does not count steps: vllm:iteration_tokens_total is not there"
            )
        return steps

    async def _metrics(self) -> dict[str, list[Series]]:
        async with self._session.get(f"{self._url}/metrics") as answer:
            try:
                return read_series(await answer.text(), METRICS)
            except ValueError as error:
                raise NotAnEngineError(f"{self._url}/metrics is not vLLM's: {error}") from None

    async def _models(self) -> dict[str, Any]:
        """The models that it serves, by name."""
        async with self._session.get(f"{self._url}/v1/models") as answer:
            try:
                body = orjson.loads(await answer.read())
                models = {one["id"]: one for one in body["data"]}
            except ValueError:
                what = f"is no JSON (HTTP {answer.status})"
            except (KeyError, TypeError):
                what = "lists no models"
            else:
                if models:
                    return models
                what = "lists no models"
        raise NotAnEngineError(f"{self._url}/v1/models {what}; is it the address of a vLLM server?")


def _most_at_once(spans: list[tuple[float, float]]) -> int:
    """How many of these spans overlap at most."""
    return max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)


def _kv_tokens(labels: Mapping[str, str]) -> int | None:
    """KV cache in tokens; None where the labels do not say."""
    if (tokens := labels.get("kv_cache_size_tokens", "")).isdigit():
        return int(tokens)
    blocks, size = labels.get("num_gpu_blocks", ""), labels.get("block_size", "")
    return int(blocks) * int(size) if blocks.isdigit() and size.isdigit() else None


def _now() -> float:
    return asyncio.get_running_loop().time()
