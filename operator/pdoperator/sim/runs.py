"""Replays on all cores: policies and seeds side by side, searches among them, nothing replayed twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from threading import Lock, Thread
from types import TracebackType
from typing import Self

from pdoperator.sim.metrics import Summary, summary
from pdoperator.sim.policies.catalogue import prepare
from pdoperator.sim.replay import replay
from pdoperator.sim.report.series import Series, series_of
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.search import Tried, resolve
from pdoperator.sim.traffic.trace import Trace

# Called with a policy's name, a seed, and the share of the trace that has been played (1: done).
Progress = Callable[[str, int, float], None]
PROGRESS_STEP = 0.01


@dataclass(frozen=True, slots=True)
class Run:
    """One policy replayed with one seed. `setting` is its full name, `policy` what was asked for."""

    policy: str
    setting: str
    summary: Summary
    series: Series
    wall_s: float


@dataclass(frozen=True, slots=True)
class Unattained:
    """A search in which no setting attained."""

    policy: str


class Runs:
    """Replays of one trace in one scenario, with all `seeds`. Use it as a context manager."""

    def __init__(
        self,
        trace: Trace,
        scenario: Scenario,
        seeds: Sequence[int],
        percentile: int,
        progress: Progress | None = None,
        processes: int | None = None,
    ) -> None:
        self._trace, self._scenario, self._seeds = trace, scenario, tuple(seeds)
        self._done: dict[tuple[str, int], Future[Run]] = {}
        self._lock = Lock()
        context = get_context()
        self._events: SimpleQueue[tuple[str, int, float] | None] = context.SimpleQueue()
        self._pool = ProcessPoolExecutor(
            processes or os.cpu_count(),
            context,
            initializer=_begin,
            initargs=(trace, scenario, percentile, self._events),
        )
        # Workers fork before there are threads.
        self._pool.submit(os.getpid).result()
        self._listener = Thread(target=self._listen, args=(progress,), daemon=True)

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)
        self._events.put(None)
        self._listener.join(timeout=5)

    def of(self, policies: Iterable[str]) -> list[list[Run] | Unattained]:
        """Each policy's runs, one a seed, in the order asked for. Searches run beside each other."""
        names = list(policies)
        with ThreadPoolExecutor(max(1, len(names))) as threads:
            return list(threads.map(self._runs, names))

    def _runs(self, policy: str) -> list[Run] | Unattained:
        setting = resolve(policy, self._trace, self._scenario, self._attempt)
        if setting is None:
            return Unattained(policy)
        futures = [self._submit(setting, seed) for seed in self._seeds]
        return [replace(future.result(), policy=policy) for future in futures]

    def _attempt(self, setting: str) -> Tried:
        """The worst attainment and the mean cost over all seeds; after a seed that misses no other is tried."""
        shares, hours = [], []
        for seed in self._seeds:
            one = self._submit(setting, seed).result().summary
            shares.append(one.attainment / one.attainable if one.attainable else 1.0)
            hours.append(one.gpu_hours)
            if not one.attains:
                break
        return Tried(min(shares), sum(hours) / len(hours))

    def _submit(self, setting: str, seed: int) -> Future[Run]:
        with self._lock:
            if (setting, seed) not in self._done:
                self._done[setting, seed] = self._pool.submit(_run, setting, seed)
            return self._done[setting, seed]

    def _listen(self, progress: Progress | None) -> None:
        while (event := self._events.get()) is not None:
            if progress is not None:
                progress(*event)

    @property
    def simulated_rps(self) -> float:
        """Requests simulated per second and core, over all replays so far."""
        runs = [future.result() for future in self._done.values() if future.done()]
        wall_s = sum(run.wall_s for run in runs)
        return len(runs) * len(self._trace) / wall_s if wall_s else 0.0


@dataclass(frozen=True, slots=True)
class _Work:
    """What a worker process replays."""

    trace: Trace
    scenario: Scenario
    percentile: int
    events: SimpleQueue[tuple[str, int, float] | None]


_work: _Work | None = None


def _begin(
    trace: Trace, scenario: Scenario, percentile: int, events: SimpleQueue[tuple[str, int, float] | None]
) -> None:
    global _work
    _work = _Work(trace, scenario, percentile, events)


def _run(setting: str, seed: int) -> Run:
    work = _work
    assert work is not None
    policy, scenario = prepare(setting, work.trace, replace(work.scenario, seed=seed), work.percentile)
    outcome = replay(work.trace, scenario, policy, _reporter(work, setting, seed))
    run = Run(setting, setting, summary(outcome), series_of(outcome, policy.forecasts), outcome.wall_s)
    work.events.put((setting, seed, 1.0))
    return run


def _reporter(work: _Work, setting: str, seed: int) -> Callable[[float], None]:
    """Passes on what has been played, a percent at a time."""
    told = 0.0

    def report(share: float) -> None:
        nonlocal told
        if share >= told + PROGRESS_STEP and share < 1:
            told = share
            work.events.put((setting, seed, share))

    return report
