"""A decision in the making, as one constraint after another leaves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pdoperator.api.reasons import Reason
from pdoperator.api.values import PerRole, ratio_text
from pdoperator.planning.decision import Candidate
from pdoperator.planning.strategies.strategy import Context, Proposal


@dataclass(frozen=True, slots=True)
class Draft:
    """The target so far, and how it came about.

    `asked` is what `behavior` was asked for, within all bounds: what its windows remember. `limited` is the last bound
    that changed something; `rejected` are the targets before each change, with what spoke against them.
    """

    proposal: Proposal
    target: PerRole[int]
    reason: Reason
    why: str
    limited: Reason = Reason.WITHIN_LIMITS
    asked: PerRole[int] | None = None
    rejected: tuple[Candidate, ...] = ()

    @classmethod
    def of(cls, proposal: Proposal) -> Draft:
        """Before any constraint."""
        return cls(proposal, proposal.wanted, proposal.reason, proposal.why)

    def limited_to(self, target: PerRole[int], reason: Reason, by: str) -> Draft:
        """With a target that a bound named `by` cut or raised; as it is where nothing changes."""
        if target == self.target:
            return self
        draft = self._changed(target, f"{by} makes it {ratio_text(target)}")
        return replace(draft, limited=reason)

    def held_at(self, target: PerRole[int], reason: Reason, by: str) -> Draft:
        """With a target that is not what was asked for, for now, because of `by`."""
        if target == self.target:
            return self
        draft = self._changed(target, f"held at {ratio_text(target)} {by}")
        return replace(draft, reason=reason)

    def _changed(self, target: PerRole[int], how: str) -> Draft:
        rejected = (*self.rejected, Candidate(self.target, how))
        return replace(self, target=target, why=f"{self.why}; {how}", rejected=rejected)


Constraint = Callable[[Context, Draft], Draft]
