"""What is decided, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from pdoperator.api.autoscaling import Strategy
from pdoperator.api.names import Role, State
from pdoperator.api.reasons import Bottleneck, Reason
from pdoperator.api.values import PerRole
from pdoperator.forecast.demand import DemandHistory
from pdoperator.forecast.forecasted import Forecasted
from pdoperator.forecast.load_forecast import LoadForecast
from pdoperator.planning.error_budget import NOTHING_BURNT, ErrorBudget
from pdoperator.planning.modes.memory import NO_MEMORY, ModeMemory


@dataclass(frozen=True, slots=True)
class Candidate:
    """A size that was weighed. `rejected` says in a few words why it is not the target; empty: it was chosen."""

    target: PerRole[int]
    rejected: str = ""


@dataclass(frozen=True, slots=True)
class DryRunScore:
    """What decisions would have done between two moments, and beside it what there was.

    GPU-seconds that the fleet would have held; seconds in which it would have had fewer engines than the load needed.
    """

    since_s: float
    until_s: float
    gpu_s: float = 0.0
    actual_gpu_s: float = 0.0
    short_s: float = 0.0
    actual_short_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """Target replicas per role. `limited` names the bound that cut what was wanted; `wanted` is before bounds.

    The rest explains it: `evidence` for the bottleneck, sentences with figures; `candidates`, the chosen one first;
    `without_forecast`, what the same strategy would have asked for from the newest demand alone.
    """

    at_s: float
    target: PerRole[int]
    wanted: PerRole[int]
    reason: Reason
    message: str
    limited: Reason = Reason.WITHIN_LIMITS
    bottleneck: Bottleneck = Bottleneck.NONE
    forecast: Forecasted | None = None
    evidence: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    without_forecast: PerRole[int] | None = None
    dry_run: DryRunScore | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A size that was asked for, kept for HPA's stabilisation window."""

    at_s: float
    target: PerRole[int]


@dataclass(frozen=True, slots=True)
class Rescale:
    """A change of the target, kept for HPA's rates: engines more (or fewer) of each role."""

    at_s: float
    change: PerRole[int]


@dataclass(frozen=True, slots=True)
class DryRun:
    """A fleet that is only decided on: its target, those that may still be starting, and its score."""

    target: PerRole[int]
    targets: tuple[Recommendation, ...]
    score: DryRunScore


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An event of the calendar that is near or has begun, and the load before it."""

    start_s: float
    rate_rps: float


@dataclass(frozen=True, slots=True)
class History:
    """All that `decide` remembers between ticks. A controller that starts fills `target` from status.

    `state` is whatever `strategy` handed back; another strategy never sees it.
    """

    demand: DemandHistory
    target: PerRole[int] | None = (
        None  # in force; None: nothing was ever decided, so the spec's first replicas
    )
    recommendations: tuple[Recommendation, ...] = ()
    rescales: tuple[Rescale, ...] = ()
    events: tuple[SeenEvent, ...] = ()
    rate: LoadForecast | None = None  # of requests per second; kept for forecast model Auto only
    dry_run: DryRun | None = None
    mode: ModeMemory = NO_MEMORY
    budget: ErrorBudget = NOTHING_BURNT
    strategy: Strategy | None = None
    state: object = None


@dataclass(frozen=True, slots=True)
class ScaleTo:
    """Set the replicas of the Deployments to these engine counts, keyed by pool name."""

    replicas: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetRole:
    """Give a ready engine its role (first assignment, or a flip when it had another serving role)."""

    engine: str
    role: Role
    flip: bool


@dataclass(frozen=True, slots=True)
class ConfirmFlip:
    """All routers use the engine in its new role and nothing of the old one is left."""

    engine: str
    role: Role
    seconds: float
    timed_out: bool


@dataclass(frozen=True, slots=True)
class StartDrain:
    """Take the engine out of routing; it is deleted when it is empty."""

    engine: str


@dataclass(frozen=True, slots=True)
class CancelDrain:
    """Put a draining or marked engine back into the `state` it was in before: it is wanted again."""

    engine: str
    state: State = State.SERVING


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete a drained engine: make it the certain victim, then lower the replicas of its pool."""

    engine: str
    seconds: float
    timed_out: bool


Step = ScaleTo | SetRole | ConfirmFlip | StartDrain | CancelDrain | Remove
