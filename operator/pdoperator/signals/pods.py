"""A pod as signals need it, whatever client it was read with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pdoperator.api import names
from pdoperator.api.names import Pool, Role, State
from pdoperator.api.units import epoch_s


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod of a service. `ready` is its Ready condition, `deleting` that it has a deletionTimestamp.

    Times are seconds since the epoch, None for what has not happened: placed on a node, container started, ready, not
    ready (any more, or yet).
    """

    name: str
    ip: str  # empty while it has none
    ready: bool
    deleting: bool
    created_s: float
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    uid: str = ""
    node: str = ""
    scheduled_s: float | None = None
    started_s: float | None = None
    ready_s: float | None = None
    unready_s: float | None = None
    restarts: int = 0  # of its containers

    @property
    def role(self) -> Role:
        """By label; BOTH where the label is missing or unknown."""
        text = self.labels.get(names.LABEL_ROLE, "")
        return Role(text) if text in set(Role) else Role.BOTH

    @property
    def state(self) -> State:
        """By label; WARMING where the label is missing or unknown."""
        text = self.labels.get(names.LABEL_STATE, "")
        return State(text) if text in set(State) else State.WARMING

    @property
    def pool(self) -> Pool:
        """By label; SHARED where the label is missing or unknown."""
        text = self.labels.get(names.LABEL_POOL, "")
        return Pool(text) if text in set(Pool) else Pool.SHARED

    @property
    def removing(self) -> bool:
        """Whether it is marked as its ReplicaSet's next victim."""
        cost = self.annotations.get(names.ANNOTATION_DELETION_COST, "")
        return cost.removeprefix("-").isdigit() and int(cost) < 0

    def time_s(self, annotation: str) -> float | None:
        """Seconds since the epoch in an annotation; None where it is missing or no time stamp."""
        try:
            return epoch_s(self.annotations[annotation])
        except (KeyError, ValueError):
            return None
