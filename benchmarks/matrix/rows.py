"""Rows of the matrix: a policy in a cell with a seed, each kept on disk so that a run can be resumed."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from matrix.workloads import WORKLOADS, at_scale
from pdoperator.capacity.builtin import BUILTIN
from pdoperator.sim.first_fleet import mm1_fleet
from pdoperator.sim.metrics import ATTAINS_SHARE, Summary, summary
from pdoperator.sim.policies.catalogue import prepare
from pdoperator.sim.replay import replay
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.search import Tried, resolve
from pdoperator.sim.traffic.trace import Trace

STARVED = 10.0
NOT_QUITE = ATTAINS_SHARE - 0.001
ROOM = 6  # engines at most, as a multiple of the first fleet


@dataclass(frozen=True, slots=True)
class Cell:
    """A trace on a profile under targets (seconds), engines starting in `startup_s`.

    `spread_s`: how far the users that scaling adds are moved apart, where it is not the workload's own; the smaller,
    the burstier. `busiest_s`: only the busiest part of this length, where the trace lasts longer.
    """

    trace: str
    profile: str
    ttft_s: float
    tpot_s: float
    startup_s: float
    spread_s: float | None = None
    busiest_s: float = math.inf

    @property
    def name(self) -> str:
        """As --row matches it, the policy following."""
        targets = f"{self.ttft_s:g}s-{self.tpot_s * 1e3:g}ms"
        spread = "" if self.spread_s is None else f"-spread-{self.spread_s:g}s"
        part = "" if math.isinf(self.busiest_s) else f"-busiest-{self.busiest_s:g}s"
        return f"{self.trace}/{self.profile}/{targets}/start-{self.startup_s:g}s{spread}{part}"

    @property
    def conditions(self) -> str:
        """Profile and targets, for people."""
        return f"{self.profile}, TTFT {self.ttft_s:g} s, TPOT {self.tpot_s * 1e3:g} ms"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a policy came to in a cell: its setting and a summary a seed; no setting: none attains."""

    cell: Cell
    policy: str
    setting: str | None
    summaries: tuple[Summary, ...]


class NotKeptError(Exception):
    """A replay that was to be on disk is not."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where traces and results lie, and how rows are run.

    `again`: even if they are there; `kept`: only if they are there, else NotKeptError is raised.

    In searches a setting does not attain under which a request fails or one of a hundred waits for its first token more
    than STARVED times the target: a fleet could else attain by letting those starve that miss anyway.
    """

    traces: Path
    results: Path
    seeds: tuple[int, ...]
    again: bool = False
    kept: bool = False

    def answer(self, cell: Cell, policy: str) -> Answer:
        """Run what is not there yet."""
        trace, scenario, _ = self.stage(cell, self.seeds[0])
        setting = resolve(policy, trace, scenario, lambda name: self._attempt(cell, name))
        if setting is None:
            return Answer(cell, policy, None, ())
        return Answer(cell, policy, setting, tuple(self.row(cell, setting, seed) for seed in self.seeds))

    def row(self, cell: Cell, setting: str, seed: int) -> Summary:
        """One replay's summary, from disk if it is there."""
        path = self.results / cell.name / f"{setting.replace(':', '_')}@{seed}.json"
        if path.is_file() and not self.again:
            return Summary(**json.loads(path.read_text()))
        if self.kept:
            raise NotKeptError(path)
        trace, scenario, before = self.stage(cell, seed)
        policy, scenario = prepare(setting, trace, scenario, before=before)
        found = summary(replay(trace, scenario, policy))
        keep(path, asdict(found))
        return found

    def stage(self, cell: Cell, seed: int) -> tuple[Trace, Scenario, Trace | None]:
        """The cell's trace, drawn with this seed, its scenario, and the trace's earlier days if it has any."""
        return _stage(self.traces, cell, seed)

    def _attempt(self, cell: Cell, setting: str) -> Tried:
        """The worst attainment and the mean cost; after a seed that misses no other is tried."""
        shares, hours = [], []
        for seed in self.seeds:
            one = self.row(cell, setting, seed)
            shares.append(self.share(cell, one))
            hours.append(one.gpu_hours)
            if not Tried(shares[-1], hours[-1]).attains:
                break
        return Tried(min(shares), sum(hours) / len(hours))

    def share(self, cell: Cell, one: Summary) -> float:
        """What is attained of what is attainable; not quite enough where requests starve."""
        share = one.attainment / one.attainable if one.attainable else 1.0
        starved = one.failed or one.ttft_p99_s > STARVED * cell.ttft_s
        return min(share, NOT_QUITE) if starved else share


@lru_cache(maxsize=4)
def _stage(traces: Path, cell: Cell, seed: int) -> tuple[Trace, Scenario, Trace | None]:
    profile = BUILTIN[cell.profile]
    workload = WORKLOADS[cell.trace]
    if cell.spread_s is not None:
        workload = replace(workload, spread_s=cell.spread_s)
    trace, before = at_scale(workload, traces, profile, cell.tpot_s, seed, cell.busiest_s)
    first = mm1_fleet(trace, profile, cell.ttft_s, cell.tpot_s)
    room = ROOM * (first.prefill + first.decode)
    scenario = Scenario(
        profile, cell.ttft_s, cell.tpot_s, first, startup_s=cell.startup_s, max_engines=room, seed=seed
    )
    return trace, scenario, before


def keep(path: Path, found: dict[str, Any]) -> None:
    """Write a result; whoever reads it meanwhile finds all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(f".{os.getpid()}")
    written.write_text(json.dumps(found))
    written.replace(path)
