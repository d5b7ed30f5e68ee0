"""What is known of a service at one moment: frozen, handed in, never fetched from here."""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.api.names import Pool, Role, State
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.forecast.demand import Demand

_NOT_SCRAPED = Missing("not scraped")
_NOT_MEASURED = Missing("not measured")


@dataclass(frozen=True, slots=True)
class EngineView:
    """One engine pod. `outstanding` counts the requests that routers have on it, by the role they use it in."""

    name: str
    pool: Pool
    role: Role
    state: State
    ready: bool
    deleting: bool
    revision: str
    created_s: float
    outstanding: Value[PerRole[int]] | Missing
    routed_role: Role | None = None  # the role under which every router has it; None: none, or they differ
    flip_started_s: float | None = None
    drain_started_s: float | None = None
    removing: bool = False  # marked as the victim of its ReplicaSet (pod-deletion-cost)
    running: Value[float] | Missing = _NOT_SCRAPED  # requests in the engine's batch
    waiting: Value[float] | Missing = _NOT_SCRAPED  # requests in the engine's queue
    kv_use: Value[float] | Missing = _NOT_SCRAPED  # share of the KV cache in use, 0 to 1
    exporting: Value[int] | Missing = (
        _NOT_SCRAPED  # finished prefills whose KV no decode engine has taken yet
    )
    scheduled: bool = True  # a node has been found for it
    node: str = ""  # the node it runs on; empty until one has been found
    ready_s: float | None = None  # when it last became ready; None while it is not
    unready_s: float | None = None  # since when it is not ready; None while it is

    @property
    def usable(self) -> bool:
        """It serves now."""
        return self.ready and not self.deleting and self.state is not State.DRAINING


@dataclass(frozen=True, slots=True)
class Transfers:
    """KV transfers over the last interval, as the engines count them.

    `expired`: KV kept in vain until its lease ran out; `late`: fetched after that, which can give wrong tokens.
    """

    done: int = 0
    failed: int = 0
    expired: int = 0
    late: int = 0


@dataclass(frozen=True, slots=True)
class PrefillTimes:
    """Means over prompts, in seconds: the wait in front of the engine, and its work from there to the first token."""

    wait_s: float
    service_s: float


@dataclass(frozen=True, slots=True)
class SloCounts:
    """Requests that ended over the last interval, and those of them that missed a target; failed ones are misses."""

    ended: int
    missed: int


@dataclass(frozen=True, slots=True)
class Observation:
    """One service at `at_s` (seconds since the epoch)."""

    at_s: float
    engines: tuple[EngineView, ...]
    demand: Value[Demand | None] | Missing  # over the last interval; a Value of None: no request came
    tpot_s: Value[float] | Missing  # mean time per output token over the last interval
    idle_for_s: float = 0.0  # since the last request was seen
    ttft_s: Value[float] | Missing = _NOT_MEASURED  # mean time to first token over the last interval
    slo: Value[SloCounts] | Missing = _NOT_MEASURED
    startup_p90_s: Value[float] | Missing = _NOT_MEASURED  # pod created to ready, measured pod by pod
    transfers: Value[Transfers] | Missing = _NOT_MEASURED
    prefix_hit: Value[float] | Missing = _NOT_MEASURED  # share of prompt tokens found in a prefix cache
    prefill_times: Value[PrefillTimes] | Missing = _NOT_MEASURED  # at the engines that prefill
    unread: str = ""  # which router that serves could not be read, and why; empty: all were
