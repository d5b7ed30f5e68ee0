"""Continuous batching: in each step every running sequence decodes a token and prompts are prefilled in chunks."""

from __future__ import annotations

import asyncio
import bisect
import itertools
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pdoperator.capacity.profile import Chunk
from pdoperator.sim.engine.args import EngineConfig
from pdoperator.sim.engine.kv import BlockPool
from pdoperator.sim.engine.metrics import EngineMetrics
from pdoperator.sim.engine.sequence import Sequence
from pdoperator.sim.engine.tokens import NOTHING, block_digests, initial_state, next_token

MAX_CATCH_UP_S = 0.02  # an overslept timer is made good in the following steps, a stopped process is not


@dataclass(slots=True)
class Step:
    decoding: list[Sequence]
    prefilling: list[tuple[Sequence, int]]  # and how many tokens in this step
    duration_s: float


class Batcher:
    """The engine's core.

    ``fetch`` starts the transfer of a sequence's remote KV, which ends in a call of ``fetched`` or ``fetch_failed``;
    ``hold`` takes over the blocks of a finished prefill for a decode engine.
    """

    def __init__(
        self,
        config: EngineConfig,
        pool: BlockPool,
        metrics: EngineMetrics,
        fetch: Callable[[Sequence], None],
        hold: Callable[[Sequence], None],
    ) -> None:
        self._config, self._pool, self._metrics = config, pool, metrics
        self._fetch, self._hold = fetch, hold
        self.arriving: set[Sequence] = set()  # the latency that occupies no engine
        self.waiting: list[Sequence] = []  # in the order in which they are let in
        self.fetching: set[Sequence] = set()
        self.ready: deque[Sequence] = deque()  # fetched, but not in a step yet
        self.running: list[Sequence] = []
        self._wake = asyncio.Event()
        self._emptied = asyncio.Event()
        self._step_end_s = 0.0

    @property
    def in_flight(self) -> int:
        return sum(map(len, self._everyone()))

    @property
    def queued_tokens(self) -> int:
        """Prompt tokens of the requests that have no token yet."""
        everyone = itertools.chain.from_iterable(self._everyone())
        return sum(len(seq.prompt) for seq in everyone if not seq.output)

    def _everyone(self) -> tuple[Collection[Sequence], ...]:
        return self.arriving, self.waiting, self.fetching, self.ready, self.running

    def submit(self, seq: Sequence) -> None:
        latency_s = 0.0 if seq.remote else self._config.profile.latency_s / self._config.speed
        if latency_s:
            self.arriving.add(seq)
            asyncio.get_running_loop().call_later(latency_s, self._arrive, seq)
        else:
            self._enqueue(seq)

    def _arrive(self, seq: Sequence) -> None:
        if seq in self.arriving:
            self.arriving.remove(seq)
            self._enqueue(seq)

    def _enqueue(self, seq: Sequence) -> None:
        bisect.insort(self.waiting, seq, key=self._order)
        self._wake.set()

    def _order(self, seq: Sequence) -> tuple[int, float]:
        return (seq.priority if self._config.by_priority else 0), seq.arrived_s

    def abort(self, seq: Sequence, reason: str = "abort") -> None:
        """End a sequence early; nothing happens when it has already ended."""
        if seq.finish_reason is None:
            self._end(seq, reason)

    def abort_all(self, reason: str) -> None:
        for seq in list(itertools.chain.from_iterable(self._everyone())):
            self.abort(seq, reason)

    async def idle(self) -> None:
        """Until nothing is in flight."""
        while self.in_flight:
            self._emptied = asyncio.Event()
            await self._emptied.wait()

    async def run(self) -> None:
        """The engine loop; runs until cancelled."""
        while True:
            self._admit()
            step = self._plan()
            if step is None:
                self._wake.clear()
                await self._wake.wait()
                self._step_end_s = _now()
                continue
            await self._let_time_pass(step.duration_s)
            self._finish_step(step)

    # admission

    def _admit(self) -> None:
        while self.ready and len(self.running) < self._config.max_num_seqs:
            self._start(self.ready.popleft())
        budget = self._config.max_num_batched_tokens - sum(_wanted(seq) for seq in self.running)
        while self.waiting and budget > 0 and len(self.running) < self._config.max_num_seqs:
            if not self._take_blocks(self.waiting[0]):
                return  # nobody overtakes
            seq = self.waiting.pop(0)
            if seq.remote is not None and not seq.output:
                self.fetching.add(seq)
                self._fetch(seq)
            else:
                self._start(seq)
                budget -= _wanted(seq)

    def _take_blocks(self, seq: Sequence) -> bool:
        size = self._config.block_size
        usable = min(
            (seq.context - 1) // size, len(seq.prompt) // size
        )  # the last token's logits are always computed
        keys = seq.cache_keys(seq.digests[:usable]) if self._config.prefix_caching else []
        cached = self._pool.longest_prefix(keys)
        fresh = self._pool.allocate(-(-seq.context // size) - len(cached))
        if fresh is None:
            self._pool.release(cached)
            return False
        seq.blocks = [*cached, *fresh]
        seq.computed, seq.sealed = len(cached) * size, len(cached)
        if seq.scheduled_s is None:
            seq.cached_tokens = seq.computed
            if self._config.prefix_caching:
                self._metrics.looked_up(len(seq.prompt), seq.cached_tokens)
        return True

    def _start(self, seq: Sequence) -> None:
        if seq.scheduled_s is None:
            seq.scheduled_s = _now()
            self._metrics.queue_time.observe(seq.scheduled_s - seq.arrived_s)
        self.running.append(seq)

    # remote KV

    def fetched(self, seq: Sequence, contents: list[bytes]) -> None:
        """The blocks after the locally cached ones now hold ``contents``."""
        if seq not in self.fetching:
            return
        self.fetching.remove(seq)
        for block, content in zip(seq.blocks[seq.sealed :], contents, strict=True):
            block.content = content
        seq.fetched_tokens = len(seq.prompt) - seq.computed
        seq.computed = len(seq.prompt)
        self._seal_prompt(seq)
        self.ready.append(seq)
        self._wake.set()

    def fetch_failed(self, seq: Sequence) -> None:
        """Recompute, or end with an error, as the load failure policy says."""
        if seq not in self.fetching:
            return
        seq.remote = None
        if self._config.recompute_on_load_failure:
            self.fetching.remove(seq)
            self.ready.append(seq)
            self._wake.set()
        else:
            self._end(seq, "error")

    # one step

    def _plan(self) -> Step | None:
        budget = self._config.max_num_batched_tokens
        decoding: list[Sequence] = []
        for seq in list(self.running):
            preempted = not seq.blocks
            if not preempted and not seq.prefilling and self._room_for_next_token(seq, decoding):
                decoding.append(seq)
        budget -= len(decoding)
        prefilling = []
        for seq in self.running:
            chunk = min(seq.context - seq.computed, budget) if seq.prefilling else 0
            if chunk > 0:
                prefilling.append((seq, chunk))
                budget -= chunk
        if not decoding and not prefilling:
            return None
        duration_s = self._config.profile.step_s(
            len(decoding),
            sum(seq.context for seq in decoding),
            [Chunk(seq.computed, tokens) for seq, tokens in prefilling],
        )
        return Step(decoding, prefilling, duration_s / self._config.speed)

    def _room_for_next_token(self, seq: Sequence, decoding: list[Sequence]) -> bool:
        """Take a block more when the context has outgrown the last one; preempts for it who comes last in the order, be
        it among those that are `decoding` in this step."""
        if seq.context <= len(seq.blocks) * self._config.block_size:
            return True
        while True:
            more = self._pool.allocate(1)
            if more is not None:
                seq.blocks.extend(more)
                return True
            victim = max(self.running, key=self._order) if self._config.by_priority else self.running[-1]
            self._preempt(victim)
            if victim in decoding:
                decoding.remove(victim)
            if victim is seq:
                return False

    def _preempt(self, seq: Sequence) -> None:
        self.running.remove(seq)
        self._pool.release(seq.blocks)
        seq.blocks, seq.computed, seq.sealed, seq.fetched_tokens = [], 0, 0, 0
        seq.preemptions += 1
        self._metrics.preemptions.inc()
        self._enqueue(seq)

    async def _let_time_pass(self, duration_s: float) -> None:
        now = _now()
        start_s = self._step_end_s if 0.0 <= now - self._step_end_s < MAX_CATCH_UP_S else now
        self._step_end_s = start_s + duration_s
        await asyncio.sleep(max(0.0, self._step_end_s - now))

    def _finish_step(self, step: Step) -> None:
        now = _now()
        for seq, chunk in step.prefilling:
            if seq.finish_reason is None:
                seq.computed += chunk
                if not seq.prefilling:
                    self._seal_prompt(seq)
                    self._emit(seq, now)
        for seq in step.decoding:
            if seq.finish_reason is None:
                self._emit(seq, now)
        self._metrics.tokens_per_step.observe(len(step.decoding) + sum(chunk for _, chunk in step.prefilling))

    def _seal_prompt(self, seq: Sequence) -> None:
        """The KV of the whole prompt is there: note what the blocks hold, tell the prefix cache, derive the state."""
        digests, first = seq.digests, seq.sealed
        if not seq.fetched_tokens:
            for block, content in zip(seq.blocks[first:], digests[first:], strict=False):
                block.content = content
        seq.keys = digests[: len(seq.prompt) // self._config.block_size]
        self._seal(seq)
        seq.state = initial_state(block.content for block in seq.blocks[: len(digests)])
        for _ in seq.output:  # after a preemption
            _, seq.state = next_token(seq.state)

    def _seal(self, seq: Sequence) -> None:
        fresh = seq.blocks[seq.sealed : len(seq.keys)]
        for block, key in zip(fresh, seq.cache_keys(seq.keys[seq.sealed :]), strict=True):
            self._pool.remember(block, key)
        seq.sealed = max(seq.sealed, len(seq.keys))

    def _emit(self, seq: Sequence, now: float) -> None:
        size = self._config.block_size
        seq.computed = seq.context
        if seq.context // size > seq.sealed:
            self._seal_output(seq)
        token, seq.state = next_token(seq.state)
        seq.output.append(token)
        if seq.first_token_s is None:
            seq.first_token_s = now
            self._metrics.first_token(seq, now)
        else:
            self._metrics.inter_token.observe(now - seq.last_token_s)
        seq.last_token_s = now
        if len(seq.output) >= seq.max_tokens or seq.context >= self._config.max_model_len:
            self._end(seq, "length")
        else:
            seq.notify()

    def _seal_output(self, seq: Sequence) -> None:
        """A block filled up with generated tokens: later turns of the conversation may find it."""
        size, start = self._config.block_size, seq.sealed
        full = seq.context // size
        tokens = (seq.prompt + seq.output)[start * size : full * size]
        fresh = block_digests(tokens, size, seq.keys[start - 1] if start else NOTHING)
        for block, content in zip(seq.blocks[start:full], fresh, strict=True):
            block.content = content
        seq.keys.extend(fresh)
        self._seal(seq)

    def _end(self, seq: Sequence, reason: str) -> None:
        seq.finish_reason = reason
        if seq in self.running:
            self.running.remove(seq)
        elif seq in self.arriving:
            self.arriving.remove(seq)
        elif seq in self.fetching:
            self.fetching.remove(seq)
        elif seq in self.ready:
            self.ready.remove(seq)
        elif seq in self.waiting:
            self.waiting.remove(seq)
        if reason == "length" and seq.hold_for_remote:
            self._hold(seq)
        else:
            self._pool.release(seq.blocks)
            seq.blocks = []
        self._metrics.finished(seq, _now())
        seq.notify()
        self._wake.set()
        if not self.in_flight:
            self._emptied.set()


def _wanted(seq: Sequence) -> int:
    """Tokens that it would have in the next step."""
    return seq.context - seq.computed if seq.prefilling else 1


def _now() -> float:
    return asyncio.get_running_loop().time()
