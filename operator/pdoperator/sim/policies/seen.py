"""What policies read of an observation: engines of a role, their means, demand. Unknown stays None, never 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pdoperator.api.names import Role
from pdoperator.api.values import Missing, Value
from pdoperator.forecast.demand import Demand
from pdoperator.planning.observation import EngineView, Observation

Reading = Value[float] | Missing


def ready(seen: Observation, role: Role) -> list[EngineView]:
    """Engines that serve `role` now."""
    return [engine for engine in seen.engines if engine.usable and engine.role is role]


def mean(engines: Sequence[EngineView], read: Callable[[EngineView], Reading]) -> float | None:
    """The mean of a reading over engines; None when there is no engine or one does not tell."""
    values = total(engines, read)
    return None if values is None or not engines else values / len(engines)


def total(engines: Sequence[EngineView], read: Callable[[EngineView], Reading]) -> float | None:
    """The sum of a reading over engines; None when one does not tell."""
    sum_ = 0.0
    for engine in engines:
        reading = read(engine)
        if isinstance(reading, Missing):
            return None
        sum_ += reading.x
    return sum_


def demand(seen: Observation) -> Demand | None:
    """Demand over the last interval; None where there was none or it is not known."""
    return seen.demand.x if isinstance(seen.demand, Value) else None


def value(reading: Reading) -> float | None:
    """The reading, None where there is none."""
    return reading.x if isinstance(reading, Value) else None
