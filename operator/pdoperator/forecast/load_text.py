"""A load's history as text, small enough for a ConfigMap: some 50 kB for two hours in steps of 5 s and four weeks in
steps of five minutes."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from dataclasses import dataclass

import numpy as np

from pdoperator.forecast.buckets import Floats

_VERSION = 1
_TOP = 60_000.0  # the highest reading as a half-precision number: below it every one keeps 11 bits


class UnreadableHistoryError(ValueError):
    """A text is no history that this version wrote."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the saved history cannot be read ({why}); delete it to start without one")


@dataclass(frozen=True, slots=True)
class LoadHistory:
    """What is saved of a load: readings, NaN for missing ones, each series with the step at which its newest ends."""

    interval_s: float
    fine_end: int
    fine: Floats
    coarse_end: int
    coarse: Floats


def to_text(history: LoadHistory) -> str:
    """`history` with readings rounded to 0.05 %."""
    top = float(np.nanmax(np.concatenate([history.fine, history.coarse, [0.0]]))) or 1.0
    head = {
        "version": _VERSION,
        "interval_s": history.interval_s,
        "top": top,
        "fine": [history.fine_end, len(history.fine)],
        "coarse": [history.coarse_end, len(history.coarse)],
    }
    halves = (np.concatenate([history.fine, history.coarse]) * (_TOP / top)).astype("<f2")
    packed = json.dumps(head).encode() + b"\n" + halves.tobytes()
    return base64.b85encode(zlib.compress(packed, 9)).decode()


def from_text(text: str) -> LoadHistory:
    """The history that `to_text` wrote. Raises UnreadableHistoryError for anything else."""
    try:
        head_line, halves = zlib.decompress(base64.b85decode(text)).split(b"\n", 1)
        head = json.loads(head_line)
        if head["version"] != _VERSION:
            raise UnreadableHistoryError(f"version {head['version']}, not {_VERSION}")
        values = np.frombuffer(halves, dtype="<f2").astype(float) * (head["top"] / _TOP)
        (fine_end, fine), (coarse_end, coarse) = head["fine"], head["coarse"]
        if len(values) != fine + coarse:
            raise UnreadableHistoryError(f"{len(values)} readings, not {fine + coarse}")
    except (ValueError, KeyError, TypeError, zlib.error, binascii.Error) as failure:
        if isinstance(failure, UnreadableHistoryError):
            raise
        raise UnreadableHistoryError(type(failure).__name__) from failure
    return LoadHistory(float(head["interval_s"]), fine_end, values[:fine], coarse_end, values[fine:])
