"""One request inside the engine, from admission to its last token."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from pdoperator.sim.engine.kv import Block
from pdoperator.sim.engine.tokens import block_digests


@dataclass(frozen=True, slots=True)
class RemotePrefill:
    """Where the KV of the prompt lies: what a prefill engine answered and the decode request carries."""

    engine_id: str
    request_id: str
    host: str
    port: int
    block_ids: tuple[int, ...]
    tp_size: int = 1


@dataclass(slots=True, eq=False)
class Sequence:
    request_id: str
    prompt: list[int]
    max_tokens: int
    block_size: int
    arrived_s: float
    remote: RemotePrefill | None = None
    hold_for_remote: bool = False  # a decode engine will fetch the KV after the end
    streaming: bool = False
    salt: bytes = b""  # requests find each other's prefixes only under the same salt

    priority: int = 0  # lower is served first, where the engine goes by it

    output: list[int] = field(default_factory=list)
    finish_reason: str | None = None  # "length", "abort", "error"
    blocks: list[Block] = field(default_factory=list)
    digests: list[bytes] = field(
        default_factory=list
    )  # of the prompt's blocks, by its tokens, the last one's included
    keys: list[bytes] = field(default_factory=list)  # the digests of the full blocks, prompt and output
    cached_tokens: int = 0  # found in this engine's prefix cache
    fetched_tokens: int = 0  # from another engine
    computed: int = 0  # tokens of the context whose KV is there
    sealed: int = 0  # full blocks that are in the prefix cache
    state: int = 0
    scheduled_s: float | None = None
    first_token_s: float | None = None
    last_token_s: float = 0.0
    preemptions: int = 0
    changed: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        self.digests = block_digests(self.prompt, self.block_size)

    def cache_keys(self, digests: list[bytes]) -> list[bytes]:
        """What the prefix cache knows full blocks with these digests by."""
        return [self.salt + digest for digest in digests] if self.salt else digests

    @property
    def context(self) -> int:
        """Tokens so far, prompt and output."""
        return len(self.prompt) + len(self.output)

    @property
    def prefilling(self) -> bool:
        return self.computed < self.context - (1 if self.output else 0)

    def notify(self) -> None:
        """Wake who waits for a token (when streaming) or for the end."""
        waiter = self.changed
        if waiter is not None and (self.streaming or self.finish_reason) and not waiter.done():
            waiter.set_result(None)

    async def wait(self, seen: int) -> None:
        """Until there are more than ``seen`` tokens (streaming only) or the sequence has ended."""
        while self.finish_reason is None and not (self.streaming and len(self.output) > seen):
            self.changed = asyncio.get_running_loop().create_future()
            await self.changed
