"""A second simulator, slow and plain: every step is an event, nothing is counted that can be summed up anew.

One engine of each role at most. It shares no code with the compiled loop but `Profile.step_s`.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from pdoperator.capacity.profile import Chunk, Profile


@dataclass(eq=False)
class Request:
    """One request, and how far it is."""

    arrival_s: float
    isl: int
    osl: int
    computed: int = 0
    generated: int = 0
    first_s: float = math.nan
    finish_s: float = math.nan

    @property
    def length(self) -> int:
        """Tokens so far."""
        return self.isl + self.generated


class Clock:
    """Events in the order of time."""

    def __init__(self) -> None:
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._made = 0

    def at(self, time_s: float, event: Callable[[float], None]) -> None:
        """Call `event` with the time then."""
        self._made += 1
        heapq.heappush(self._events, (time_s, self._made, event))

    def run(self) -> None:
        """Until there is no event any more."""
        while self._events:
            time_s, _, event = heapq.heappop(self._events)
            event(time_s)


@dataclass
class Engine:
    """vLLM's scheduler on one engine. `decode`: who decodes what it prefills; None: it does so itself."""

    clock: Clock
    profile: Profile
    decode: Engine | None = None
    waiting: deque[Request] = field(default_factory=deque)
    pulls: deque[tuple[Request, Engine]] = field(default_factory=deque)
    arrived: deque[Request] = field(default_factory=deque)
    running: list[Request] = field(default_factory=list)  # in the order in which they were let in
    held: dict[Request, int] = field(default_factory=dict)
    stepping: bool = False
    out_free_s: float = 0.0
    in_free_s: float = 0.0
    preemptions: int = 0

    def submit(self, request: Request, now_s: float) -> None:
        """A prompt to prefill."""
        self.waiting.append(request)
        self.wake(now_s)

    def wake(self, now_s: float) -> None:
        """Begin a step if none is under way."""
        if not self.stepping:
            self._begin(now_s)

    @property
    def _free(self) -> int:
        """Tokens of KV that nobody holds, after the next token of each that decodes."""
        return self.profile.kv_tokens - sum(self.held.values()) - len(self.running)

    def _begin(self, now_s: float) -> None:
        preempted = self._preempt()
        while self.arrived and len(self.running) < self.profile.max_batch and self._free >= 1:
            self.running.append(self.arrived.popleft())
        if not preempted:
            self._pull(now_s)
        chunks = [] if preempted else self._chunks()
        if not self.running and not chunks:
            return
        context = sum(request.length for request in self.running)
        parts = [Chunk(request.computed, tokens) for request, tokens in chunks]
        duration_s = self.profile.step_s(len(self.running), context, parts)
        self.stepping = True
        self.clock.at(now_s + duration_s, partial(self._end, list(self.running), chunks))

    def _preempt(self) -> bool:
        before = self.preemptions
        while self.running and self._free < 0:
            self.preemptions += 1
            if self.waiting and self.waiting[0] in self.held:
                victim = self.waiting[0]
            else:
                victim = self.running.pop()
                self.waiting.appendleft(victim)
            del self.held[victim]
            victim.computed = 0
        return self.preemptions > before

    def _pull(self, now_s: float) -> None:
        while self.pulls and len(self.running) < self.profile.max_batch:
            if self.waiting and self.waiting[0].generated:
                return
            request, source = self.pulls[0]
            if self._free < request.isl + 1:
                return
            self.pulls.popleft()
            self.held[request] = request.isl
            profile = self.profile
            bytes_s = (
                request.isl * (profile.kv_bytes_per_token or 0.0) / (profile.link_bytes_per_s or math.inf)
            )
            source.out_free_s = max(now_s, source.out_free_s) + bytes_s
            self.in_free_s = max(source.out_free_s, self.in_free_s + bytes_s)
            self.clock.at(self.in_free_s + profile.latency_s, partial(self._pulled, request, source))

    def _pulled(self, request: Request, source: Engine, now_s: float) -> None:
        del source.held[request]
        self.arrived.append(request)
        source.wake(now_s)
        self.wake(now_s)

    def _chunks(self) -> list[tuple[Request, int]]:
        chunks: list[tuple[Request, int]] = []
        budget = self.profile.batched_tokens - len(self.running)
        for request in self.waiting:
            if budget <= 0 or len(chunks) + len(self.running) >= self.profile.max_batch:
                break
            if request not in self.held:
                if self._free < request.length + 1:
                    break
                self.held[request] = request.length + 1
            tokens = min(budget, request.length - request.computed)
            chunks.append((request, tokens))
            budget -= tokens
        return chunks

    def _end(self, batch: list[Request], chunks: list[tuple[Request, int]], now_s: float) -> None:
        for request in batch:
            self.held[request] += 1
            self._token(request, now_s)
        for request, tokens in chunks:
            request.computed += tokens
            if request.computed == request.length:
                self.waiting.popleft()
                self._complete(request, now_s)
        self.stepping = False
        self.wake(now_s)

    def _complete(self, request: Request, now_s: float) -> None:
        if self.decode is None:
            self.arrived.append(request)
            self._token(request, now_s)
        else:
            self.decode.pulls.append((request, self))
            self.decode.wake(now_s)

    def _token(self, request: Request, now_s: float) -> None:
        request.generated += 1
        if math.isnan(request.first_s):
            request.first_s = now_s
        if request.generated == request.osl:
            request.finish_s = now_s
            del self.held[request]
            queue = self.running if request in self.running else self.arrived
            queue.remove(request)
