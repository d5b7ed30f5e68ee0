"""What a replay runs on: engines, targets, start-up, budget, and what the router may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pdoperator.api.values import PerRole
from pdoperator.capacity.profile import Profile


class LocalPrefill(StrEnum):
    """When a decode engine prefills a prompt itself, in chunks beside its decodes, though prefill engines are there."""

    NEVER = "never"
    LAZY = "lazy"  # when the prefill engines are predicted to come near the TTFT target
    EAGER = "eager"  # whenever that is predicted to be faster


@dataclass(frozen=True, slots=True)
class RouterOptions:
    """`chunk_tokens`: most tokens of one step (max-num-batched-tokens) of all engines; None: the profile's.

    `deferral_s`: how long a prompt that is predicted to miss the TTFT target yields to others; 0: first come, first
    served.
    """

    local_prefill: LocalPrefill = LocalPrefill.NEVER
    chunk_tokens: int | None = None
    deferral_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """At this time one serving engine is lost; which one, the seed says."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """One set-up; times in seconds. `first` is the fleet at the beginning.

    `decode_startup_s`: of decode pods in a pool of their own; None: as all others. `gpu_budget`: the GPUs there are;
    what would take more, beside engines that are still stopping, stays pending.
    """

    profile: Profile
    ttft_s: float
    tpot_s: float
    first: PerRole[int]
    gpu_budget: int | None = None
    startup_s: float = 120.0
    decode_startup_s: float | None = None
    startup_cv: float = 0.1  # of a lognormal: image pull, load and warm-up vary
    flip_s: float = 2.0  # from label to first request in the new role; what drains comes on top
    max_engines: int = 64
    failures: tuple[Failure, ...] = ()
    seed: int = 0
