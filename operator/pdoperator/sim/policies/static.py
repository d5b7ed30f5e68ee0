"""A fleet that never changes: the split that a person has chosen."""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.api.values import PerRole
from pdoperator.planning.observation import Observation
from pdoperator.sim.policies.policy import PolicyBase


@dataclass(slots=True)
class Static(PolicyBase):
    """Its first target throughout."""

    def choose(self, seen: Observation) -> PerRole[int]:
        """The fleet."""
        return self.target
