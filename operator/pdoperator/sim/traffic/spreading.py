"""Arrivals that a coarse clock has put on the same instant, spread over its tick."""

from __future__ import annotations

import numpy as np

from pdoperator.sim.traffic.trace import Seconds


def spread(arrival_s: Seconds, clock_s: float) -> Seconds:
    """Requests of the same instant at equal distances over the tick of `clock_s` that begins there; sorted as before.

    Nothing is drawn at random, and a request that is alone at its instant stays there. What is lost is the burstiness
    within a tick, which the file does not have either. A tick ends early where the next instant comes before its end.
    """
    instants, first, counts = np.unique(arrival_s, return_index=True, return_counts=True)
    ticks_s = np.minimum(np.append(np.diff(instants), clock_s), clock_s)
    position = np.arange(len(arrival_s)) - np.repeat(first, counts)
    spread_s: Seconds = arrival_s + position * np.repeat(ticks_s / counts, counts)
    return spread_s
