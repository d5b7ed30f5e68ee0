"""Readings of engines, by role. What is missing or too old is left out and counted, never taken as zero."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from pdoperator.api import defaults
from pdoperator.api.names import Role, State
from pdoperator.api.values import SERVING_ROLES, Missing, Value
from pdoperator.planning.observation import EngineView

Read = Callable[[EngineView], Value[float] | Missing]


T = TypeVar("T")


def fresh(reading: Value[T] | Missing) -> T | None:
    """What was read, if it was read at most METRICS_MAX_AGE_S ago."""
    if isinstance(reading, Value) and reading.age_s <= defaults.METRICS_MAX_AGE_S:
        return reading.x
    return None


@dataclass(frozen=True, slots=True)
class Readings:
    """One reading of the engines of one role that serve; `missing` of them have none that is fresh."""

    values: tuple[float, ...]
    missing: int

    @property
    def mean(self) -> float | None:
        """Mean over the engines that were read; None: none was."""
        return sum(self.values) / len(self.values) if self.values else None

    @property
    def enough(self) -> bool:
        """Whether as many were read as decisions need; a role without an engine that serves has nothing to read."""
        return self.missing <= defaults.MISSING_READINGS_SHARE * (len(self.values) + self.missing)


def readings(engines: Iterable[EngineView], role: Role, read: Read) -> Readings:
    """A reading of each engine that serves in `role`."""
    values: list[float] = []
    missing = 0
    oldest_s = defaults.METRICS_MAX_AGE_S
    # `usable` and `fresh` written out: this runs over all engines several times a decision.
    for engine in engines:
        if engine.role is not role or not engine.ready or engine.deleting or engine.state is State.DRAINING:
            continue
        reading = read(engine)
        if isinstance(reading, Value) and reading.age_s <= oldest_s:
            values.append(reading.x)
        else:
            missing += 1
    return Readings(tuple(values), missing)


def running(engine: EngineView) -> Value[float] | Missing:
    """Requests in the engine's batch."""
    return engine.running


def unread_engines(engines: Collection[EngineView]) -> str:
    """The first role of which too few engines have a fresh reading, in words; empty: of both roles enough have one."""
    for role in SERVING_ROLES:
        seen = readings(engines, role, running)
        if not seen.enough:
            total = len(seen.values) + seen.missing
            return f"{seen.missing} of {total} {role.value} engines have no fresh reading"
    return ""


def waiting(engine: EngineView) -> Value[float] | Missing:
    """Requests in the engine's queue."""
    return engine.waiting


def kv_use(engine: EngineView) -> Value[float] | Missing:
    """Share of the engine's KV cache in use."""
    return engine.kv_use


def exporting(engine: EngineView) -> Value[float] | Missing:
    """Finished prefills whose KV no decode engine has taken yet."""
    held = engine.exporting
    return Value(float(held.x), held.age_s) if isinstance(held, Value) else held
