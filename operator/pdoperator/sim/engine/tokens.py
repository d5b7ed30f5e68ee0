"""Text to token ids and back, and the digests that stand in for KV cache content.

Every generated token depends on the content of every KV block of its context. So an engine that decodes on blocks
from another engine gives the aggregated output exactly when it got the right blocks.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from zlib import crc32

VOCABULARY = 2048
_FIRST_WORD = 3  # 0 to 2 are the special tokens of the real tiny model
_PIECES = re.compile(r" ?w\d+| ?[^\W\d_]{1,6}| ?\d{1,3}|\s|[^\w\s]|_")
NOTHING = b"\0" * 8  # what the first block follows


def encode(text: str) -> list[int]:
    """About one token for six letters. Text that ``decode`` wrote comes back as the very tokens."""
    return [_token_of(piece) for piece in _PIECES.findall(text)]


def _token_of(piece: str) -> int:
    if piece[:2] == " w" and piece[2:].isdigit():
        return int(piece[2:]) % VOCABULARY
    return _FIRST_WORD + crc32(piece.encode()) % (VOCABULARY - _FIRST_WORD)


def decode(tokens: Iterable[int]) -> str:
    return "".join([f" w{token}" for token in tokens])


def block_digests(tokens: Sequence[int], block_size: int, before: bytes = NOTHING) -> list[bytes]:
    """8 bytes a block, the last one possibly partly filled; each covers ``before`` and all tokens up to its end."""
    digests = []
    for start in range(0, len(tokens), block_size):
        block = array("I", tokens[start : start + block_size]).tobytes()
        before = blake2b(before + block, digest_size=8).digest()
        digests.append(before)
    return digests


def initial_state(contents: Iterable[bytes]) -> int:
    """The state of a sequence after its prompt, out of the content of all its KV blocks."""
    return int.from_bytes(blake2b(b"".join(contents), digest_size=8).digest(), "little")


def next_token(state: int) -> tuple[int, int]:
    """One step of generation: (token, next state). Never a special token, so that a request ends by its length."""
    state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
    return _FIRST_WORD + (state >> 33) % (VOCABULARY - _FIRST_WORD), state
