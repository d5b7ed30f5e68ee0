"""The reconfigurer of DOPD's released planner: from what it computed to what it does. For comparisons only.

github.com/liao4s/DOPD at 4bc8838, `planner_dopd.py`. Its rules, in this order: an adjustment is skipped when the counts
have changed since the interval began; without requests for longer than 50 s both roles go to their minimum; what was
computed is raised to the minimum and cut to the GPU budget; prefill is changed first, then decode, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.values import PerRole


@dataclass(frozen=True, slots=True)
class Limits:
    """The least engines and the GPUs of an engine, by role, and the GPU budget of all. Raises ValueError."""

    least: PerRole[int]
    gpus: PerRole[int]
    budget: int

    def __post_init__(self) -> None:
        needed = self.least.prefill * self.gpus.prefill + self.least.decode * self.gpus.decode
        # The release would search for ever.
        if needed > self.budget:
            raise ValueError(
                f"a budget of {self.budget} GPUs does not hold the minimum, which needs {needed}"
            )


@dataclass(frozen=True, slots=True)
class Interval:
    """What the planner knows when an interval ends: counts at its beginning and end, seconds without requests."""

    counts_before: PerRole[int]
    counts_now: PerRole[int]
    idle_s: float


def next_counts(computed: PerRole[int], interval: Interval, limits: Limits) -> PerRole[int]:
    """The engines of each role that the release goes for; the counts as they are when it skips the adjustment."""
    if interval.counts_now != interval.counts_before:
        return interval.counts_now
    if interval.idle_s > defaults.IDLE_AFTER_S:
        return limits.least
    return within_budget(computed, limits)


def within_budget(computed: PerRole[int], limits: Limits) -> PerRole[int]:
    """Raised to the minimum, then shrunk in proportion until the GPUs suffice, decode taking what prefill leaves."""
    least, gpus = limits.least, limits.gpus
    prefill, decode = max(computed.prefill, least.prefill), max(computed.decode, least.decode)
    while (total := prefill * gpus.prefill + decode * gpus.decode) > limits.budget:
        prefill = max(least.prefill, int(prefill * limits.budget / total))
        decode = max(least.decode, int((limits.budget - prefill * gpus.prefill) / gpus.decode))
    return PerRole(prefill, decode)


def steps(now: PerRole[int], target: PerRole[int]) -> Iterator[tuple[Role, int]]:
    """The changes in the release's order: prefill first, then decode, each by one engine (+1 or -1) at a time."""
    for role, have, want in (
        (Role.PREFILL, now.prefill, target.prefill),
        (Role.DECODE, now.decode, target.decode),
    ):
        for _ in range(abs(want - have)):
            yield role, 1 if want > have else -1
