"""Trace files of every known form, recognised by their first line.

- ours: CSV with `arrival_s,input_tokens,output_tokens`; `prefix_hit_blocks_inf` is understood, other columns ignored
- Azure's published CSV: `TIMESTAMP,ContextTokens,GeneratedTokens`
- BurstGPT's CSV: `Timestamp,…,Request tokens,Response tokens,…`; rows with 0 response tokens are failures and dropped
- Mooncake's JSON lines: `timestamp` (ms), `input_length`, `output_length`, `hash_ids`

All of them plain or gzip. Arrivals of ours count from where the file begins, all others from the first request.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from pdoperator.sim.traffic.memory import free_bytes
from pdoperator.sim.traffic.reading import Block, blocks, first_line
from pdoperator.sim.traffic.spreading import spread
from pdoperator.sim.traffic.trace import MAX_TOKENS, Seconds, Tokens, Trace, TraceError

HASH_BLOCK_TOKENS = 512  # of Mooncake's hash ids
# 20 in its arrays, the same in the parts that they are joined from, and the arrivals once more where they are moved.
BYTES_PER_REQUEST = 48
# Characters of a value, and of NumPy's words, in a message.
MAX_SHOWN = 60
LONGEST_COMPLAINT = 200

Rows = NDArray[np.float64]  # [n, 4]: arrival, input, output, cached
ARRIVAL, INPUT, OUTPUT, CACHED = range(4)
COLUMN_NAMES = ("the arrival", "input tokens", "output tokens", "cached tokens")


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of one kind of file."""

    arrival: str
    input: str
    output: str
    dates: bool = False  # arrivals are dates, not seconds
    drop_without_output: bool = False
    clock_s: float = 0.0  # arrivals are cut to multiples of it

    @property
    def columns(self) -> tuple[str, str, str]:
        return (self.arrival, self.input, self.output)


OURS = Form("arrival_s", "input_tokens", "output_tokens")
AZURE = Form("TIMESTAMP", "ContextTokens", "GeneratedTokens", dates=True)
BURSTGPT = Form("Timestamp", "Request tokens", "Response tokens", drop_without_output=True, clock_s=1.0)
MOONCAKE = Form("timestamp", "input_length", "output_length", clock_s=3.0)
HIT_BLOCKS = "prefix_hit_blocks_inf"


def load(path: str | Path, memory_bytes: float | None = None) -> Trace:
    """The trace in this file, named after it. Raises TraceError, which says in one line what and where.

    `memory_bytes` is what it may take, all that is free unless given.
    """
    path = Path(path)
    head, line = first_line(path)
    if head.startswith("{"):
        form, rows = MOONCAKE, _mooncake_rows(path)
    else:
        header = next(csv.reader([head], skipinitialspace=True))
        form = _form(path, line, header)
        rows = _csv_rows(path, line, header, form)
    arrival_s, *tokens = _joined(path, rows, free_bytes() if memory_bytes is None else memory_bytes)
    first_s, last_s = arrival_s[0], arrival_s[-1]
    # A first arrival that is later than the whole trace is long is no quiet beginning but the time of a wall clock.
    if form is not OURS or first_s > last_s - first_s:
        arrival_s = arrival_s - first_s
    if form.clock_s:
        arrival_s = spread(arrival_s, form.clock_s)
    return Trace(path.name.split(".")[0], arrival_s, *tokens)


def _form(path: Path, line: int, header: list[str]) -> Form:
    for form in (OURS, AZURE, BURSTGPT):
        if set(form.columns) <= set(header):
            return form
    nearest = max((OURS, AZURE, BURSTGPT), key=lambda form: len(set(form.columns) & set(header)))
    missing = [name for name in nearest.columns if name not in header]
    if len(missing) < len(nearest.columns):
        raise TraceError(path, line, f"the header lacks {' and '.join(missing)}")
    known = "; ".join(",".join(form.columns) for form in (OURS, AZURE, BURSTGPT))
    raise TraceError(
        path,
        line,
        f"the header {_shown(','.join(header))} is of no known form: {known}; or Mooncake's JSON lines",
    )


def _joined(path: Path, parts: Iterable[Rows], memory_bytes: float) -> tuple[Seconds, Tokens, Tokens, Tokens]:
    """All rows as columns. Raises TraceError when there are none or more than memory holds."""
    arrivals: list[Seconds] = []
    tokens: list[NDArray[np.int32]] = []
    requests = 0
    for rows in parts:
        requests += len(rows)
        if requests * BYTES_PER_REQUEST > memory_bytes:
            free = f"{memory_bytes / 1e9:.2g} GB of memory"
            raise TraceError(
                path, 0, f"more than {requests:,} requests do not fit into the {free} that are free; cut it"
            )
        arrivals.append(rows[:, ARRIVAL].copy())
        tokens.append(rows[:, INPUT:].T.astype(np.int32))
    if requests == 0:
        raise TraceError(path, 0, "there are no requests in it")
    inputs, outputs, cached = np.concatenate(tokens, axis=1)
    return np.concatenate(arrivals), inputs, outputs, cached


def _csv_rows(path: Path, header_line: int, header: list[str], form: Form) -> Iterator[Rows]:
    names = [*form.columns, *([HIT_BLOCKS] if form is OURS and HIT_BLOCKS in header else [])]
    columns = [header.index(name) for name in names]
    epoch: np.datetime64 | None = None
    last_s = -np.inf
    for block in blocks(path, after_line=header_line):
        if not block.text.strip():
            continue
        table = _table(path, block, columns, form)
        rows = np.zeros((len(table), 4))
        if form.dates:
            dates = _dates(path, block, table["f0"])
            epoch = dates[0] if epoch is None else epoch
            rows[:, ARRIVAL] = (dates - epoch) / np.timedelta64(1, "s")
        else:
            rows[:, ARRIVAL] = table["f0"]
        rows[:, INPUT], rows[:, OUTPUT] = table["f1"], table["f2"]
        if HIT_BLOCKS in names:
            rows[:, CACHED] = np.minimum(HASH_BLOCK_TOKENS * table["f3"], rows[:, INPUT])
        failed = rows[:, OUTPUT] == 0 if form.drop_without_output else np.zeros(len(rows), bool)
        _check(path, block, rows, ~failed, last_s, dates=form.dates)
        last_s = rows[-1, ARRIVAL]
        yield rows[~failed]


def _table(path: Path, block: Block, columns: list[int], form: Form) -> NDArray[np.void]:
    kinds = ["S40" if form.dates else "f8", *["f8"] * (len(columns) - 1)]
    dtype = np.dtype([(f"f{i}", kind) for i, kind in enumerate(kinds)])
    try:
        return np.atleast_1d(
            np.loadtxt(
                io.StringIO(block.text), dtype, delimiter=",", usecols=columns, comments=None, quotechar='"'
            )
        )
    except ValueError as error:
        raise TraceError(path, *_unreadable(block, str(error))) from None


def _unreadable(block: Block, complaint: str) -> tuple[int, str]:
    """Line and message of what NumPy could not read."""
    found = re.search(r" at row (\d+)", complaint)
    what, row = (complaint[: found.start()], int(found[1])) if found else (complaint, 0)
    if what.startswith("invalid column index"):
        return block.line_of(row - 1), "the row has too few columns"  # this one NumPy counts from 1
    return block.line_of(row), " ".join(what.split())[:LONGEST_COMPLAINT]


def _dates(path: Path, block: Block, texts: NDArray[np.bytes_]) -> NDArray[np.datetime64]:
    """Dates with microseconds; a UTC offset of 0 is cut off, for NumPy knows no time zones."""
    texts = np.strings.replace(texts, b"+00:00", b"")
    try:
        return texts.astype("S26").astype("datetime64[us]")
    except ValueError:
        row = next(i for i, text in enumerate(texts) if not _is_date(text))
        raise TraceError(
            path, block.line_of(row), f"{_shown(texts[row].decode('latin-1'))} is no date"
        ) from None


def _is_date(text: bytes) -> bool:
    try:
        return not np.isnat(np.datetime64(text[:26].decode("latin-1")))
    except ValueError:
        return False


def _check(
    path: Path, block: Block, rows: Rows, served: NDArray[np.bool_], last_s: float, dates: bool = False
) -> None:
    """Raise TraceError for the first row that cannot be, with its line."""
    arrival_s, tokens = rows[:, ARRIVAL], rows[:, INPUT:]
    before_s = np.concatenate([[last_s], arrival_s[:-1]])
    faults = [
        (~np.isfinite(arrival_s), "the arrival is not a finite number"),
        ((arrival_s < 0) & (not dates), "the arrival is negative"),
        (arrival_s < before_s, "the arrival is earlier than that of the line before; sort the file by time"),
    ]
    for i, name in enumerate(COLUMN_NAMES[INPUT:]):
        column = tokens[:, i]
        least = 0 if i + INPUT == CACHED else 1
        faults += [
            (~np.isfinite(column), f"{name}: not a finite number"),
            ((column < least) & served, f"{name} must be at least {least}"),
            (column > MAX_TOKENS, f"{name}: more than {MAX_TOKENS:,}"),
            (column % 1 != 0, f"{name}: not a whole number"),
        ]
    wrong = [(int(np.argmax(where)), what) for where, what in faults if where.any()]
    if wrong:
        row, what = min(wrong, key=lambda fault: fault[0])
        raise TraceError(path, block.line_of(row), what)


def _mooncake_rows(path: Path) -> Iterator[Rows]:
    seen: set[int] = set()
    last_s = -np.inf
    for block in blocks(path):
        found = []
        for i, line in enumerate(block.text.split("\n")):
            if line.strip():
                found.append(_mooncake_row(path, block.first_line + i, line, seen))
        if found:
            rows = np.array(found, dtype=np.float64)
            _check(path, block, rows, np.ones(len(rows), bool), last_s)
            last_s = rows[-1, ARRIVAL]
            yield rows


def _mooncake_row(path: Path, line: int, text: str, seen: set[int]) -> tuple[float, float, float, float]:
    """One request; what it hashes to is added to `seen`, the blocks of a prefix cache without limit."""
    try:
        request = orjson.loads(text)
        arrival_s = float(request["timestamp"]) / 1000
        input_tokens, output_tokens = float(request["input_length"]), float(request["output_length"])
        hash_ids = request.get("hash_ids") or []
        hits = next((i for i, block in enumerate(hash_ids) if block not in seen), len(hash_ids))
        seen.update(hash_ids)
    except KeyError as error:
        raise TraceError(path, line, f"the request lacks {error.args[0]}") from None
    except (ValueError, TypeError, AttributeError):
        raise TraceError(path, line, f"{_shown(text)} is no request of Mooncake's form") from None
    return arrival_s, input_tokens, output_tokens, min(HASH_BLOCK_TOKENS * hits, input_tokens)


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= MAX_SHOWN else line[: MAX_SHOWN - 1] + "…")
