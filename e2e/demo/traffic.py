"""Open-loop traffic of a given shape: Poisson arrivals, prompts of exact length, streamed answers counted."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

VOCABULARY = range(10, 2000)  # token ids that every model of the demo has
REQUEST_LIMIT_S = 180.0


@dataclass(frozen=True)
class Phase:
    """Load of one kind for some time."""

    name: str
    seconds: float
    rate_rps: float
    input_tokens: int
    output_tokens: int


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
    """Requests of all phases against one address."""

    url: str
    model: str
    seed: int = 0
    answers: list[Answer] = field(default_factory=list)
    started: float = 0.0

    def now_s(self) -> float:
        """Seconds since the traffic began."""
        return time.monotonic() - self.started

    async def run(self, phases: Sequence[Phase]) -> None:
        """All phases one after the other; returns when the last answer is in."""
        self.started = time.monotonic()
        draw = random.Random(self.seed)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            for phase in phases:
                end = self.now_s() + phase.seconds
                while self.now_s() < end:
                    prompt = draw.choices(VOCABULARY, k=phase.input_tokens)
                    group.create_task(self._ask(session, prompt, phase.output_tokens))
                    await asyncio.sleep(min(draw.expovariate(phase.rate_rps), phase.seconds))

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
