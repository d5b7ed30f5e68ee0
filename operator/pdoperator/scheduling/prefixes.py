"""Which engine has which beginnings of prompts in its prefix cache, as far as it was sent them from here. Pure.

Approximate: it goes by what engines were sent, and forgets as vLLM evicts (least recently used, ends before
beginnings) once that is more than their KV cache holds.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Chain:
    """A prompt as blocks of equal length: each hash stands for its block and all before it. `share` is that of one
    block in the prompt; what is left after the last full one has no hash."""

    blocks: tuple[int, ...] = ()
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt to be placed: its tokens, and how many of them engines have in their prefix cache, by name."""

    tokens: int
    cached: Mapping[str, int] = field(default_factory=dict)

    def cached_on(self, engine: str) -> int:
        """Tokens that `engine` need not compute."""
        return self.cached.get(engine, 0)


@dataclass(slots=True)
class _Cache:
    """One engine's: tokens by block, least recently used first."""

    bit: int
    blocks: OrderedDict[int, int] = field(default_factory=OrderedDict)
    tokens: int = 0


class Prefixes:
    """An index of blocks by engine. Engines are bits of a number, so that one look-up a block serves them all."""

    def __init__(self) -> None:
        self._holders: dict[int, int] = {}
        self._caches: dict[str, _Cache] = {}
        self._names: dict[int, str] = {}

    def prompt(self, chain: Chain, tokens: int) -> Prompt:
        """A prompt of so many tokens, and how many of them each engine has. O(blocks + engines).

        Never all of them: the last token is always computed.
        """
        each = chain.share * tokens
        cached = {
            engine: min(int(blocks * each), tokens - 1)
            for holders, blocks in self._longest(chain.blocks)
            for engine in self._engines(holders)
        }
        return Prompt(tokens, cached)

    def _longest(self, blocks: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Engines with how many blocks from the beginning they have, each once; those that have none left out."""
        holders = self._holders.get(blocks[0], 0) if blocks else 0
        for depth, block in enumerate(blocks[1:], 1):
            still = holders & self._holders.get(block, 0)
            if still != holders:
                yield holders ^ still, depth
                holders = still
            if not holders:
                return
        if holders:
            yield holders, len(blocks)

    def _engines(self, holders: int) -> Iterator[str]:
        while holders:
            lowest = holders & -holders
            yield self._names[lowest]
            holders ^= lowest

    def sent(self, engine: str, chain: Chain, tokens: int, limit_tokens: int) -> None:
        """`engine` is given a prompt of so many `tokens`, and holds `limit_tokens` of KV in all."""
        cache = self._caches.get(engine)
        if cache is None:
            cache = self._add(engine)
        each = math.ceil(chain.share * tokens)
        for block in reversed(chain.blocks):  # so that its end is the first to be forgotten
            if block in cache.blocks:
                cache.tokens -= cache.blocks[block]
                cache.blocks.move_to_end(block)
            else:
                self._holders[block] = self._holders.get(block, 0) | cache.bit
            cache.blocks[block] = each
            cache.tokens += each
        while cache.tokens > limit_tokens:
            block, freed = cache.blocks.popitem(last=False)
            cache.tokens -= freed
            self._drop(block, cache.bit)

    def forget(self, engine: str) -> None:
        """`engine` has lost its cache, or is gone."""
        cache = self._caches.pop(engine, None)
        if cache is not None:
            del self._names[cache.bit]
            for block in cache.blocks:
                self._drop(block, cache.bit)

    def keep(self, engines: Iterable[str]) -> None:
        """Forget the engines not named."""
        for engine in self._caches.keys() - set(engines):
            self.forget(engine)

    def _add(self, engine: str) -> _Cache:
        bit = 1
        while bit in self._names:
            bit <<= 1
        self._names[bit] = engine
        cache = self._caches[engine] = _Cache(bit)
        return cache

    def _drop(self, block: int, bit: int) -> None:
        holders = self._holders[block] & ~bit
        if holders:
            self._holders[block] = holders
        else:
            del self._holders[block]
