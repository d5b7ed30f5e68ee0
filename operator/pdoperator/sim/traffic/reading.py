"""Text files, plain or gzip, in blocks of whole lines; every way in which that fails is a TraceError."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pdoperator.sim.traffic.trace import TraceError

BLOCK_BYTES = 1 << 24  # large enough that the cost per block does not count
HEAD_BYTES = 1 << 20  # longer than any first line
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of a file, the first of them being its line number `first_line` (from 1)."""

    first_line: int
    text: str

    def line_of(self, row: int) -> int:
        """Line number in the file of the row-th line here that is not empty, counted from 0."""
        filled = [i for i, line in enumerate(self.text.split("\n")) if line.strip()]
        return self.first_line + filled[row]


def first_line(path: Path) -> tuple[str, int]:
    """The first line that is not empty, and its number. Raises TraceError when there is none."""
    for block in blocks(path, block_bytes=HEAD_BYTES):
        for i, line in enumerate(block.text.split("\n")):
            if line.strip():
                return line.strip(), block.first_line + i
    raise TraceError(path, 0, "the file is empty")


def blocks(path: Path, after_line: int = 0, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The file after line `after_line`, some `block_bytes` at a time. Raises TraceError."""
    line = 1
    for raw in _whole_lines(path, block_bytes):
        count = raw.count(b"\n")
        try:
            text = raw.decode("utf-8-sig" if line == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise TraceError(path, line + raw[: error.start].count(b"\n"), "is not text in UTF-8") from None
        skipped = max(0, min(after_line - line + 1, count))
        if skipped:
            text = text.split("\n", skipped)[skipped]
        if text:
            yield Block(line + skipped, text)
        line += count


def _whole_lines(path: Path, block_bytes: int) -> Iterator[bytes]:
    lines_seen, rest = 0, b""
    for raw in _bytes(path, block_bytes):
        head, newline, tail = raw.rpartition(b"\n")
        if newline:
            yield rest + head + newline
            lines_seen += rest.count(b"\n") + head.count(b"\n") + 1
            rest = tail
        else:
            rest += raw
        if len(rest) > block_bytes:
            raise TraceError(path, lines_seen + 1, f"the line is longer than {block_bytes} bytes")
    if rest:
        yield rest + b"\n"


def _bytes(path: Path, block_bytes: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as plain:
            packed = plain.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            plain.seek(0)
            file: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=plain) if packed else plain
            while raw := file.read(block_bytes):
                yield raw
    except EOFError:
        raise TraceError(path, 0, "the gzip file is truncated; copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise TraceError(path, 0, f"the gzip file is damaged: {error}") from None
    except OSError as error:
        raise TraceError(path, 0, f"cannot be read: {error.strerror or error}") from None
