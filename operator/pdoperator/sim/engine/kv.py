"""The KV block pool of one engine: allocation, prefix cache, eviction. No clock, no I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Block:
    """``content`` is what the memory holds, ``key`` what the prefix cache believes it holds (None: not cached)."""

    number: int
    content: bytes = b""
    key: bytes | None = None
    users: int = 0


class BlockPool:
    """Blocks 1 to ``count`` (0 is vLLM's null block). A freed block keeps its content until it is handed out again."""

    def __init__(self, count: int) -> None:
        self._blocks = [Block(number) for number in range(count + 1)]
        self._free: OrderedDict[int, None] = OrderedDict((number, None) for number in range(1, count + 1))
        self._cached: dict[bytes, int] = {}

    @property
    def usage(self) -> float:
        """Share of the blocks in use, 0 to 1."""
        total = len(self._blocks) - 1
        return 1.0 - len(self._free) / total

    @property
    def free_count(self) -> int:
        return len(self._free)

    def allocate(self, count: int) -> list[Block] | None:
        """``count`` blocks, the longest unused first, or None when there are not that many."""
        if count > len(self._free):
            return None
        taken = []
        for _ in range(count):
            number, _ = self._free.popitem(last=False)
            block = self._blocks[number]
            self._forget(block)
            block.content, block.users = b"", 1
            taken.append(block)
        return taken

    def longest_prefix(self, keys: Sequence[bytes]) -> list[Block]:
        """The cached blocks of the longest known prefix; each is held by the caller from now on."""
        found = []
        for key in keys:
            number = self._cached.get(key)
            if number is None:
                break
            block = self._blocks[number]
            if block.users == 0:
                del self._free[number]
            block.users += 1
            found.append(block)
        return found

    def remember(self, block: Block, key: bytes) -> None:
        """Let later prompts find a full block under ``key``. The first block of a key stays the known one."""
        if key not in self._cached:
            self._cached[key] = block.number
            block.key = key

    def release(self, blocks: Sequence[Block]) -> None:
        """Give blocks back; the end of a sequence is reused before its beginning, which others may share."""
        for block in reversed(blocks):
            block.users -= 1
            if block.users == 0:
                self._free[block.number] = None

    def content(self, number: int) -> bytes | None:
        """What block ``number`` holds now, whoever uses it; None for a block that does not exist."""
        return self._blocks[number].content if 0 < number < len(self._blocks) else None

    def _forget(self, block: Block) -> None:
        if block.key is not None:
            del self._cached[block.key]
            block.key = None
