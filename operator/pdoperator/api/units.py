"""Kubernetes' notations at the API's edge, plain numbers inside."""

from __future__ import annotations

import re
from datetime import UTC, datetime

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
HORIZON_PATTERN = r"^(Auto|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$"
RATIO_PATTERN = r"^[1-9][0-9]{0,3}:[1-9][0-9]{0,3}$"
TIME_OF_DAY = r"([01][0-9]|2[0-3]):[0-5][0-9]"
DATE_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})"

_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


def seconds(duration: str) -> float:
    """Seconds of a duration such as `80ms`, `2s` or `1h30m`. Raises ValueError naming what is accepted."""
    if not re.match(DURATION_PATTERN, duration):
        raise ValueError(f"{duration!r} is not a duration; write it like 80ms, 2s or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(duration))


def ratio(text: str) -> tuple[int, int]:
    """Prefill and decode parts of a ratio such as `1:4`. Raises ValueError naming what is accepted."""
    if not re.match(RATIO_PATTERN, text):
        raise ValueError(f"{text!r} is not a ratio; write it like 1:4, prefill first")
    prefill, decode = text.split(":")
    return int(prefill), int(decode)


def timestamp(at_s: float) -> str:
    """Seconds since the epoch as RFC 3339 with milliseconds, as annotations carry it."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_s(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time stamp. Raises ValueError; a stamp without a zone is refused."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it like 2026-01-31T12:00:00Z")
    return at.timestamp()
