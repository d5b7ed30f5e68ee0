"""Open-loop traffic: arrivals of a trace or a Poisson process, prompts of exact length, streamed answers counted."""

from __future__ import annotations

import asyncio
import csv
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import aiohttp

VOCABULARY = range(10, 2000)  # token ids that every model of the demo has
REQUEST_LIMIT_S = 600.0
TRACES = Path(__file__).with_name("traces")
INPUT_SCALE, INPUT_BOUNDS = 0.5, (16, 1600)
OUTPUT_SCALE, OUTPUT_BOUNDS = 0.6, (4, 240)


@dataclass(frozen=True)
class Request:
    """One arrival, in seconds since its phase began."""

    at_s: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Phase:
    """Load of one kind for some time; `calls_for` is the role that needs more engines than the other under it."""

    name: str
    seconds: float
    calls_for: str
    requests: tuple[Request, ...]

    def as_json(self) -> dict[str, Any]:
        """The phase in short: rate and mean lengths."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "calls_for": self.calls_for,
            "rate_rps": round(len(self.requests) / self.seconds, 2),
            "input_tokens": round(fmean(request.input_tokens for request in self.requests)),
            "output_tokens": round(fmean(request.output_tokens for request in self.requests)),
        }


def steady(
    name: str, seconds: float, rate_rps: float, lengths: tuple[int, int], calls_for: str = ""
) -> Phase:
    """Poisson arrivals of equal requests; `lengths` are input and output tokens. The same at every call."""
    draw, at_s, requests = random.Random(name), 0.0, []
    while at_s < seconds:
        requests.append(Request(at_s, *lengths))
        at_s += draw.expovariate(rate_rps)
    return Phase(name, seconds, calls_for, tuple(requests))


def from_trace(name: str, trace: str, rows: slice, seconds: float, calls_for: str) -> Phase:
    """Rows of a trace in `traces/`: their arrivals stretched over `seconds`, their lengths scaled to the small model.

    The scales keep conversation decode-heavy and code prefill-heavy for that model, and both within its context.
    """
    with (TRACES / f"{trace}.csv").open() as file:
        chosen = list(csv.DictReader(file))[rows]
    first, last = float(chosen[0]["arrival_s"]), float(chosen[-1]["arrival_s"])
    stretch = seconds / (last - first)
    requests = tuple(
        Request(
            (float(row["arrival_s"]) - first) * stretch,
            _scaled(int(row["input_tokens"]), INPUT_SCALE, INPUT_BOUNDS),
            _scaled(int(row["output_tokens"]), OUTPUT_SCALE, OUTPUT_BOUNDS),
        )
        for row in chosen
    )
    return Phase(name, seconds, calls_for, requests)


def _scaled(tokens: int, scale: float, bounds: tuple[int, int]) -> int:
    return min(bounds[1], max(bounds[0], round(tokens * scale)))


@dataclass
class Answer:
    """One request as its client saw it. Times are seconds since the start of the traffic."""

    sent_s: float
    input_tokens: int
    first_s: float | None = None
    last_s: float | None = None
    output_tokens: int = 0
    error: str = ""

    @property
    def ttft_s(self) -> float | None:
        """Arrival to first token."""
        return None if self.first_s is None else self.first_s - self.sent_s

    @property
    def tpot_s(self) -> float | None:
        """(last token - first token) / (n - 1)."""
        if self.first_s is None or self.last_s is None or self.output_tokens < 2:
            return None
        return (self.last_s - self.first_s) / (self.output_tokens - 1)


@dataclass
class Traffic:
    """Requests of all phases against one address; `began_s` holds when each phase did."""

    url: str
    model: str
    seed: int = 0
    answers: list[Answer] = field(default_factory=list)
    began_s: list[float] = field(default_factory=list)
    started: float = 0.0

    def now_s(self) -> float:
        """Seconds since the traffic began."""
        return time.monotonic() - self.started

    async def run(self, phases: Sequence[Phase], enough: Callable[[Phase], bool] = lambda _: False) -> None:
        """All phases one after the other, each until its end or `enough`; returns when the last answer is in."""
        self.started = time.monotonic()
        draw = random.Random(self.seed)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            for phase in phases:
                began_s = self.now_s()
                self.began_s.append(began_s)
                for request in phase.requests:
                    await asyncio.sleep(began_s + request.at_s - self.now_s())
                    if enough(phase):
                        break
                    prompt = draw.choices(VOCABULARY, k=request.input_tokens)
                    group.create_task(self._ask(session, prompt, request.output_tokens))
                else:
                    await asyncio.sleep(began_s + phase.seconds - self.now_s())

    async def _ask(self, session: aiohttp.ClientSession, prompt: list[int], output_tokens: int) -> None:
        answer = Answer(self.now_s(), len(prompt))
        self.answers.append(answer)
        body = completion(self.model, prompt, output_tokens) | {"stream": True}
        try:
            limit = aiohttp.ClientTimeout(total=REQUEST_LIMIT_S)
            async with session.post(f"{self.url}/v1/completions", json=body, timeout=limit) as response:
                if response.status != 200:
                    answer.error = f"{response.status}: {(await response.text())[:200]}"
                    return
                await self._read(response, answer)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError, KeyError) as error:
            # Also an answer that is not understood: one such request must not end all others.
            answer.error = f"{type(error).__name__}: {error}"
        if not answer.error and answer.output_tokens < output_tokens:
            answer.error = f"{answer.output_tokens} of {output_tokens} tokens came"

    async def _read(self, response: aiohttp.ClientResponse, answer: Answer) -> None:
        async for line in response.content:
            if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                continue
            event = json.loads(line[6:])
            if "error" in event:
                answer.error = str(event["error"])[:200]
                return
            now = self.now_s()
            answer.first_s = answer.first_s or now
            answer.last_s = now
            answer.output_tokens += sum(len(choice.get("token_ids") or [0]) for choice in event["choices"])


def completion(model: str, prompt: list[int], output_tokens: int) -> dict[str, object]:
    """Body of a completion of exactly `output_tokens`, the same at every try."""
    return {
        "model": model,
        "prompt": prompt,
        "max_tokens": output_tokens,
        "min_tokens": output_tokens,
        "ignore_eos": True,
        "temperature": 0,
        "return_token_ids": True,
    }
