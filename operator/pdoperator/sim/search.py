"""Searches over replays for the cheapest setting that attains; all by name, so that any replay can be repeated."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from pdoperator.api.values import PerRole
from pdoperator.sim.metrics import ATTAINS_SHARE
from pdoperator.sim.policies.grids import GRIDS
from pdoperator.sim.policies.work import request_work
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.traffic.trace import Trace


@dataclass(frozen=True, slots=True)
class Tried:
    """A replay, or the worst and the mean of several seeds: attainment as a share of what is attainable."""

    attained_share: float
    gpu_hours: float

    @property
    def attains(self) -> bool:
        """It reaches what is asked for."""
        return self.attained_share >= ATTAINS_SHARE


Attempt = Callable[[str], Tried]

# Loads that oracles are tried with, to more than full, since a TTFT target leaves room for a queue. The lightest keeps
# the fleet within the engines that a scenario allows.
LOADS = tuple(round(0.2 * 1.05**i, 3) for i in range(42))
# Prefill so lightly loaded that only decode can miss; the lighter ones where prompts nearly as long as TTFT count.
AMPLE = (0.4, 0.3, 0.2)
# Of foresight: more engines can mean more flips, so attainment does not fall steadily with load.
FORESIGHT = tuple(
    f"foresight:prefill={prefill}:decode={decode}"
    for prefill, decode in product((0.5, 0.65, 0.8, 0.95, 1.1), repeat=2)
)
# The clairvoyant bound by longer windows: engines that follow bursts of long prompts come and go more than they work.
SMOOTHER = "clairvoyant:window=30"
CHUNKS = (0, 512, 1024, 2048, 4096)  # tokens; 0: the profile's token budget
# Under less than this share of the mean work no fleet keeps up; the rest is room for what a model of work misses.
LEAST_SHARE = 0.95


def resolve(name: str, trace: Trace, scenario: Scenario, attempt: Attempt) -> str | None:
    """The policy that `name` stands for; itself when it stands for no search. None: no setting attains."""
    searches: dict[str, Callable[[], str | None]] = {
        "static-best": lambda: static_best("static", _bounds(trace, scenario), scenario.max_engines, attempt),
        "hybrid-best": lambda: static_best("hybrid", PerRole(1, 1), scenario.max_engines, attempt),
        "aggregated-best": lambda: aggregated_best(scenario.max_engines, attempt),
        "arrow-best": lambda: arrow_best(_bounds(trace, scenario), scenario.max_engines, attempt),
        "clairvoyant": lambda: clairvoyant_loads("clairvoyant", attempt),
        SMOOTHER: lambda: clairvoyant_loads(SMOOTHER, attempt),
        "foresight": lambda: best_of(FORESIGHT, attempt),
        "clairvoyant-aggregated": lambda: aggregated_load(attempt),
    }
    if name in searches:
        return searches[name]()
    if name.removesuffix("-best") in GRIDS and name.endswith("-best"):
        return best_of(GRIDS[name.removesuffix("-best")], attempt)
    return name


def static_best(kind: str, least: PerRole[int], most: int, attempt: Attempt) -> str | None:
    """Fewest engines over P x D. A fleet that attains still does with more of either role, so D never grows with P."""
    best: PerRole[int] | None = None
    highest = most
    for prefill in range(least.prefill, most):
        if best is not None and prefill + least.decode >= best.prefill + best.decode:
            break
        room = most if best is None else best.prefill + best.decode - 1
        decode = least_that(
            least.decode, min(highest, room - prefill), _fleet_attains(attempt, kind, prefill)
        )
        if decode is not None:
            best, highest = PerRole(prefill, decode), decode
    return None if best is None else f"{kind}:{best.prefill}:{best.decode}"


def aggregated_best(most: int, attempt: Attempt) -> str | None:
    """Fewest engines over chunk sizes."""
    best, name = most + 1, None
    for chunk in CHUNKS:
        engines = least_that(1, best - 1, _engines_attain(attempt, chunk))
        if engines is not None:
            best, name = engines, _aggregated(engines, chunk)
    return name


def arrow_best(least: PerRole[int], most: int, attempt: Attempt) -> str | None:
    """Fewest engines whose roles flip."""
    engines = least_that(least.prefill + least.decode, most, lambda n: attempt(f"arrow:engines={n}").attains)
    return None if engines is None else f"arrow:engines={engines}"


def clairvoyant_loads(bound: str, attempt: Attempt) -> str | None:
    """The cheapest of the highest loads with which it just attains.

    The search begins where decode misses half of what may be missed, and prefill the rest.
    """
    half = (1 + ATTAINS_SHARE) / 2
    for ample in AMPLE:
        decode = _highest_load(_decode_shares(bound, attempt, ample), half)
        if decode is None:
            continue
        prefill = _highest_load(_prefill_shares(bound, attempt, decode), ATTAINS_SHARE)
        if prefill is not None:
            return _along_the_edge(bound, attempt, LOADS.index(prefill), LOADS.index(decode))
    return None


def _along_the_edge(bound: str, attempt: Attempt, prefill: int, decode: int) -> str:
    """From one place of LOADS that just attains to the next, with lighter prefill and fuller decode, while it pays."""
    cheapest, cost = "", math.inf
    for lighter in LOADS[prefill::-1]:
        while decode + 1 < len(LOADS) and attempt(_loaded(bound, lighter, LOADS[decode + 1])).attains:
            decode += 1
        here = _loaded(bound, lighter, LOADS[decode])
        gpu_hours = attempt(here).gpu_hours
        if gpu_hours >= cost:
            break
        cheapest, cost = here, gpu_hours
    return cheapest


def aggregated_load(attempt: Attempt) -> str | None:
    """The highest load with which aggregated engines that start at once just attain."""
    load = _highest_load(
        lambda load: attempt(f"clairvoyant-aggregated:load={load}").attained_share, ATTAINS_SHARE
    )
    return None if load is None else f"clairvoyant-aggregated:load={load}"


def best_of(names: tuple[str, ...], attempt: Attempt) -> str:
    """The cheapest that attains; where none does the one that comes nearest."""

    def rank(name: str) -> tuple[bool, float]:
        tried = attempt(name)
        return not tried.attains, tried.gpu_hours if tried.attains else -tried.attained_share

    return min(names, key=rank)


def least_that(low: int, high: int, holds: Callable[[int], bool]) -> int | None:
    """The least n of low..high for which a condition holds that stays true once it is; None: not even for `high`."""
    if low > high or not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high


def _highest_load(attained_share: Callable[[float], float], least: float) -> float | None:
    downwards = LOADS[::-1]
    place = least_that(0, len(downwards) - 1, lambda i: attained_share(downwards[i]) >= least)
    return None if place is None else downwards[place]


def _fleet_attains(attempt: Attempt, kind: str, prefill: int) -> Callable[[int], bool]:
    return lambda decode: attempt(f"{kind}:{prefill}:{decode}").attains


def _engines_attain(attempt: Attempt, chunk: int) -> Callable[[int], bool]:
    return lambda engines: attempt(_aggregated(engines, chunk)).attains


def _decode_shares(bound: str, attempt: Attempt, prefill: float) -> Callable[[float], float]:
    return lambda decode: attempt(_loaded(bound, prefill, decode)).attained_share


def _prefill_shares(bound: str, attempt: Attempt, decode: float) -> Callable[[float], float]:
    return lambda prefill: attempt(_loaded(bound, prefill, decode)).attained_share


def _loaded(bound: str, prefill: float, decode: float) -> str:
    return f"{bound}:prefill={prefill}:decode={decode}"


def _aggregated(engines: int, chunk: int) -> str:
    return f"aggregated:engines={engines}" + (f":chunk={chunk}" if chunk else "")


def _bounds(trace: Trace, scenario: Scenario) -> PerRole[int]:
    """Engines of each role without which the mean load alone would pile up."""
    prefill_s, decode_s, _ = request_work(trace, scenario.profile, scenario.tpot_s)

    def least(work_s: float) -> int:
        return max(1, math.ceil(LEAST_SHARE * work_s / trace.span_s))

    return PerRole(least(float(prefill_s.sum())), least(float(decode_s.sum())))
