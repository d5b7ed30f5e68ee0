"""What a strategy is: a pure function of what is known to what it asks for. Bounds and delays are not its business."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pdoperator.api.reasons import Bottleneck, Reason
from pdoperator.api.values import PerRole
from pdoperator.forecast.demand import Sample
from pdoperator.forecast.forecasted import Forecasted
from pdoperator.planning.decision import Candidate, History
from pdoperator.planning.observation import Observation
from pdoperator.planning.settings import PlanSettings


@dataclass(frozen=True, slots=True)
class Context:
    """All that a strategy may look at. `history` holds the demand up to now; `current` is the target in force."""

    settings: PlanSettings
    observation: Observation
    history: History
    current: PerRole[int]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a strategy asks for, before bounds.

    `bottleneck` None: it is read off the engines. `without_forecast` is what the strategy would ask for if the load
    stayed as it is. `behavior` False: the spec's behavior (windows, rates) does not apply to it, because the size is a
    person's; `urgent`: it does not wait for the scale-up window. `state` is handed back in the next `history.state`;
    whatever it holds, only the strategy reads it.
    """

    wanted: PerRole[int]
    reason: Reason
    why: str
    forecast: Forecasted | None = None
    bottleneck: Bottleneck | None = None
    evidence: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    without_forecast: PerRole[int] | None = None
    behavior: bool = True
    urgent: bool = False
    state: object = None


Strategy = Callable[[Context], Proposal]


@runtime_checkable
class Lasting(Protocol):
    """A state that survives a restart of the operator; each text is written down as it is."""

    def to_texts(self) -> Mapping[str, str]:
        """Texts by a short name, some hundred kB together at most."""
        ...


# The state of a strategy from what `to_texts` gave before a restart (empty: nothing, or unreadable to another version)
# and from demand before our time, oldest first (empty: not known). May take tenths of a second of CPU.
Restore = Callable[[PlanSettings, Mapping[str, str], Sequence[Sample]], object]
