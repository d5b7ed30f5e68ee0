"""Waiting for what other tasks bring about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PERIOD_S = 0.01


async def until(check: Callable[[], bool], limit_s: float = 5.0) -> None:
    """Return as soon as `check` holds; an AssertionError when it does not in time."""
    for _ in range(int(limit_s / PERIOD_S)):
        if check():
            return
        await asyncio.sleep(PERIOD_S)
    raise AssertionError(f"not within {limit_s:g} s")
