"""The simulated router and the cluster's own decide alike: what a replay shows is what the cluster does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdoperator.api.names import Role
from pdoperator.api.router_config import EngineCosts
from pdoperator.capacity.profile import Fit, Profile
from pdoperator.scheduling.pick import Scheduler
from pdoperator.scheduling.prefixes import Prompt
from pdoperator.sim.kernel import state as k
from pdoperator.sim.kernel.queues import append
from pdoperator.sim.kernel.routing import choose, pick_decode
from pdoperator.sim.scenario import LocalPrefill, RouterOptions
from pdoperator.sim.traffic.trace import Trace
from scheduling.world import NOW_S, config, engine, table
from sim.kernel.engines import TPOT_S, TTFT_S, engines_of

PROFILE = Profile(
    Fit(0.05, 1.1e-4, 3.3e-9), Fit(0.0117, 1.3e-4, 7.1e-8), kv_tokens=40_000, max_batch=64, batched_tokens=2048,
    measured_pass_s=0.011, kv_bytes_per_token=1e5, link_bytes_per_s=5e9,
)  # fmt: skip
DEFERRAL_S = 60.0
TOKENS = st.integers(1, 9000)


@dataclass(frozen=True)
class Busy:
    """What one engine has: prompts to compute, deferred ones after them, contexts that it decodes.

    `links` of the contexts are still on their way. A prefill engine decodes nothing: among equals the cluster's router
    also looks at what is left from another role.
    """

    prefills: bool
    prompts: list[int]
    deferred: list[int]
    contexts: list[int]
    links: int


PROMPTS = st.lists(TOKENS, max_size=4)
DEFERRED = st.lists(st.integers(1, 20_000), max_size=2)  # some too long for any engine
BUSY = st.builds(Busy, st.just(True), PROMPTS, DEFERRED, st.just([]), st.just(0)) | st.builds(
    Busy, st.just(False), PROMPTS, DEFERRED, st.lists(TOKENS, max_size=6), st.integers(0, 6)
)


def both(engines: list[Busy], isl: int, cached: int = 0) -> tuple[k.State, k.Params, Scheduler, Any]:
    """The same engines as the simulator and as the router see them."""
    isl_tokens = np.array([isl, *(tokens for one in engines for tokens in one.deferred)], np.int32)
    cached_tokens = np.array([cached, *[0] * (len(isl_tokens) - 1)], np.int32)
    n = len(isl_tokens)
    trace = Trace.of("t", np.zeros(n), isl_tokens, np.full(n, 10, np.int32), cached_tokens)
    roles = [k.PREFILL if one.prefills else k.DECODE for one in engines]
    state, params = engines_of(trace, PROFILE, roles, RouterOptions(LocalPrefill.LAZY, deferral_s=DEFERRAL_S))
    costs = EngineCosts(**{name: getattr(params, name) for name in EngineCosts.model_fields})
    settings = config(costs=costs, ttft_target_s=TTFT_S, tpot_target_s=TPOT_S, deferral_s=DEFERRAL_S)
    scheduler, r = Scheduler(), 0
    for e, one in enumerate(engines):
        role = Role.PREFILL if one.prefills else Role.DECODE
        for tokens in one.prompts:
            scheduler.load.acquire(str(e), role, tokens)
        for tokens in one.deferred:
            too_long = scheduler.too_long(settings, engine(str(e), role), Prompt(tokens))
            scheduler.load.acquire(str(e), role, tokens, yields_until_s=NOW_S + 1, crowded_out=not too_long)
            r += 1
            append(state, k.DEFERRED, e, r)
        for tokens in one.contexts:
            scheduler.load.acquire(str(e), Role.DECODE, tokens, computed=True)
        account, links = scheduler.load.account(str(e)), min(one.links, len(one.contexts))
        state.engines[e]["turn"] = account.turn
        for kind, prompts in ((k.PROMPTS, one.prompts), (k.DEFERRED, one.deferred)):
            squares = sum(tokens**2 for tokens in prompts)
            state.queues[e, kind]["tokens"] = sum(prompts)
            state.queues[e, kind]["work_s"] = params.ttft_b * sum(prompts) + params.ttft_c * squares
        state.queues[e, k.PROMPTS]["count"] = len(one.prompts)
        state.engines[e]["kv"] = sum(one.contexts)
        state.engines[e]["batch"] = len(one.contexts) - links
        state.queues[e]["count"][k.LINKS] = links
    return state, params, scheduler, settings


def rows(engines: list[Busy]) -> Any:
    """The routing table."""
    return table(
        *(engine(str(e), Role.PREFILL if b.prefills else Role.DECODE) for e, b in enumerate(engines))
    )


@settings(deadline=None, max_examples=400)
@given(
    st.lists(BUSY, min_size=1, max_size=6).filter(lambda engines: any(not b.prefills for b in engines)),
    TOKENS,
    st.floats(0, 1),
)
@example([Busy(True, [7000, 7000], [20_000], [], 0), Busy(False, [], [], [], 0)], 100, 0.0)
def test_a_prompt_goes_to_the_same_engine_as_often_past_prefill_and_as_often_deferred(
    engines: list[Busy], isl: int, hit: float
) -> None:
    """With the same share of the prompt in every engine's prefix cache: that is what a trace tells."""
    cached = int(hit * (isl - 1))
    state, params, scheduler, settings = both(engines, isl, cached)
    fleet = rows(engines)
    prompt = Prompt(isl, {str(e): cached for e in range(len(engines))})
    picked = scheduler.prefill(fleet, NOW_S, settings, prompt)
    local = picked is None or scheduler.prefills_locally(fleet, NOW_S, settings, picked, prompt)
    if local:
        picked = scheduler.aggregated(fleet, NOW_S, settings, prompt)
    assert picked is not None
    deferred = scheduler.defers(settings, picked, prompt, local)
    if deferred and local:
        picked = scheduler.aggregated(fleet, NOW_S, settings, prompt, deferred=True)
    elif deferred:
        picked = scheduler.prefill(fleet, NOW_S, settings, prompt, deferred=True)
    assert picked is not None
    assert choose(state, params, 0, 0.0) == (int(picked.name), local, deferred)


@settings(deadline=None, max_examples=200)
@given(st.lists(BUSY, min_size=1, max_size=6), st.integers(0, 5))
def test_a_finished_prefill_goes_to_the_same_decode_engine(engines: list[Busy], source: int) -> None:
    state, params, scheduler, settings = both(engines, 1000)
    picked = scheduler.decode(rows(engines), NOW_S, settings, "r1", {str(source)})
    assert pick_decode(state, params, source) == (k.NONE if picked is None else int(picked.name))
