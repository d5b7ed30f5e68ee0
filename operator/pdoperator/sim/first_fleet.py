"""The fleet that every policy starts from: what M/M/1 sizing gives for the mean of a trace."""

from __future__ import annotations

from pdoperator.api.values import PerRole, total
from pdoperator.capacity.mm1 import enough
from pdoperator.capacity.profile import Profile
from pdoperator.capacity.sizing import Demand, Engine, Method, QueueSize, Targets, sizes
from pdoperator.planning.split import in_proportion
from pdoperator.sim.policies.work import request_work
from pdoperator.sim.traffic.trace import Trace

# Where the mean prompt alone takes longer than the target, M/M/1 has no answer: engines this busy on average.
BUSY_SHARE = 0.7


def mm1_fleet(trace: Trace, profile: Profile, ttft_s: float, tpot_s: float) -> PerRole[int]:
    """M/M/1 (arXiv 2603.04716) for the trace's mean rate and mean lengths, rounded up."""
    demand = Demand(
        isl_tokens=float(trace.input_tokens.mean()),
        osl_tokens=float(trace.output_tokens.mean()),
        rate_rps=len(trace) / trace.span_s,
    )
    answer = sizes(demand, Targets(ttft_s, tpot_s), Engine(profile.ttft, profile))[Method.MM1]
    if isinstance(answer, QueueSize):
        return PerRole(answer.prefill_replicas, answer.decode_replicas)
    prefill_s, decode_s, _ = request_work(trace, profile, tpot_s)
    return PerRole(*(enough(float(work.sum()) / trace.span_s / BUSY_SHARE) for work in (prefill_s, decode_s)))


def shrunk(fleet: PerRole[int], most: int) -> PerRole[int]:
    """The fleet in at most so many engines (2 or more), in proportion, one of each role at least."""
    if total(fleet) <= most:
        return fleet
    prefill = in_proportion(most, fleet)
    return PerRole(prefill, most - prefill)
