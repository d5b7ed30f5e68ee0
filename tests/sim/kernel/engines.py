"""Engines of the compiled loop without pods or operator, for tests that look at the loop alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pdoperator.api.values import PerRole
from pdoperator.capacity.profile import Profile
from pdoperator.sim.kernel import state as k
from pdoperator.sim.kernel.run import run_until
from pdoperator.sim.replay import params_of
from pdoperator.sim.scenario import RouterOptions, Scenario
from pdoperator.sim.traffic.trace import Trace

TTFT_S, TPOT_S = 2.0, 0.08


def engines_of(
    trace: Trace, profile: Profile, roles: Sequence[int], router: RouterOptions | None = None
) -> tuple[k.State, k.Params]:
    """Engines in these roles that serve from the beginning."""
    params = params_of(Scenario(profile, TTFT_S, TPOT_S, PerRole(1, 1)), router or RouterOptions())
    state = k.new_state(
        trace.arrival_s, trace.input_tokens, trace.output_tokens, trace.cached_tokens,
        len(roles), profile.max_batch,
    )  # fmt: skip
    state.cursors[k.SLOTS] = len(roles)
    state.engines["alive"] = state.engines["serving"] = True
    state.engines["role"] = roles
    return state, params


def served(
    trace: Trace, profile: Profile, roles: Sequence[int], router: RouterOptions | None = None
) -> k.State:
    """The state when all has been served."""
    state, params = engines_of(trace, profile, roles, router)
    run_until(state, params, np.inf)
    return state
