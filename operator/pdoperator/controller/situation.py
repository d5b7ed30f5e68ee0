"""All that a status is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pdoperator.api.reasons import Reason
from pdoperator.api.values import PerRole
from pdoperator.controller.pods import PodProblem
from pdoperator.planning.decision import Decision
from pdoperator.planning.observation import Observation


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why the newest spec was not put into effect; what ran before goes on."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class StartTimes:
    """Seconds from pod made to engine ready; None: none has been seen to start."""

    p50_s: float | None = None
    p90_s: float | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """One service now. `observation` has the fleet as of now, `decided_on` what the newest decision saw."""

    service: str
    generation: int
    target: PerRole[int]
    observation: Observation
    decided_on: Observation | None
    routers_ready: int
    problems: Sequence[PodProblem]
    decision: Decision | None
    scaling_enabled: bool
    dry_run: bool
    obstacle: Obstacle | None
    startups: PerRole[StartTimes] = field(default_factory=lambda: PerRole.of(lambda _: StartTimes()))
    source_problems: Sequence[str] = ()  # queries that the source of signals does not answer as it should
    decides: str = ""  # who decides, and how often
    paused: str = ""  # what is paused and until when
    conflict: str = ""  # who else changes what belongs to the service
    yielded: str = ""  # what is left to them
