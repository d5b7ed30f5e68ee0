"""Around any strategy that forecasts: overload that is already there is acted on within one tick.

DOPD describes such a path (queue depth or KV use beyond a threshold) and gives no thresholds; these are those of its
baseline DYN-LOAD. How many engines: HPA's arithmetic, at most twice those that serve. Engines that are still starting
are not counted twice, because the sum is taken from those that serve now.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.reasons import Reason
from pdoperator.api.values import Missing, PerRole
from pdoperator.planning.bottleneck import decode_holds_kv
from pdoperator.planning.demand import fresh_demand
from pdoperator.planning.readings import Read, kv_use, readings, waiting
from pdoperator.planning.strategies.strategy import Context, Proposal, Strategy


def with_emergency(strategy: Strategy) -> Strategy:
    """What `strategy` asks for, or more where an overload calls for it. No reading: no emergency."""

    def guarded(context: Context) -> Proposal:
        proposal = strategy(context)
        queues = PerRole.of(lambda role: _called_for(context, role, waiting, defaults.QUEUE_LONG))
        decode = max(queues.decode, _called_for(context, Role.DECODE, kv_use, defaults.KV_FULL))
        # With decode full, prefill's queue is decode's: what is prefilled has nowhere to go.
        prefill = 0 if decode_holds_kv(context.observation) else queues.prefill
        called_for = PerRole(prefill, decode)
        wanted = PerRole.of(lambda role: max(proposal.wanted[role], called_for[role]))
        if wanted == proposal.wanted:
            return proposal
        return replace(
            proposal,
            wanted=wanted,
            reason=Reason.EMERGENCY,
            why=f"{proposal.why}; emergency: {_told(context, proposal.wanted, wanted)}",
            urgent=True,
        )

    return guarded


def with_emergency_when_blind(strategy: Strategy) -> Strategy:
    """The same, only while the demand is not known: for a strategy that looks at queues itself, but needs a demand."""
    guarded = with_emergency(strategy)

    def chosen(context: Context) -> Proposal:
        blind = isinstance(fresh_demand(context.observation), Missing)
        return guarded(context) if blind else strategy(context)

    return chosen


def _called_for(context: Context, role: Role, read: Read, limit: float) -> int:
    """Engines of `role` that bring its mean reading back to the limit; 0 while it is within."""
    seen = readings(context.observation.engines, role, read)
    if seen.mean is None or seen.mean <= limit:
        return 0
    serving = len(seen.values) + seen.missing
    return min(2 * serving, math.ceil(serving * seen.mean / limit))


def _told(context: Context, before: PerRole[int], wanted: PerRole[int]) -> str:
    def part(role: Role) -> str:
        queue = readings(context.observation.engines, role, waiting).mean
        use = readings(context.observation.engines, role, kv_use).mean
        figures = [
            f"{queue:.1f} wait" if queue is not None else "",
            f"KV {use:.0%}" if use is not None else "",
        ]
        return f"{role.value} {wanted[role]} ({', '.join(f for f in figures if f)} per engine)"

    return ", ".join(part(role) for role, count in wanted.items() if count > before[role])
