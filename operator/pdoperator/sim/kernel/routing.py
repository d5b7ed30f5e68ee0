"""The router in the compiled loop: predicted waits from what each engine has to do.

The formulas are those of the cluster's router (scheduling/predict.py), a test holds the two together. What that one
cannot see is known here: how far a prompt is, what is in a prefix cache, and who waits for room.
"""

from __future__ import annotations

import math

import numpy as np

from pdoperator.sim.kernel.costs import decode_step_s, prefill_s, prompt_tokens
from pdoperator.sim.kernel.jit import jit
from pdoperator.sim.kernel.state import (
    DECODE,
    JOINS,
    LINKS,
    LOCAL_EAGER,
    LOCAL_NEVER,
    NONE,
    PREFILL,
    PROMPTS,
    ROOMS,
    SLOTS,
    TURN,
    Params,
    State,
)


@jit
def pick_prefill(state: State) -> int:
    """The prefill engine with the least work before it, among equals the one whose turn is longest ago; or NONE."""
    engines = state.engines
    best, best_work_s = NONE, np.inf
    for e in range(state.cursors[SLOTS]):
        if not engines[e].serving or engines[e].role != PREFILL:
            continue
        work_s = engines[e].prompt_work_s
        if work_s < best_work_s or (work_s == best_work_s and engines[e].turn < engines[best].turn):
            best, best_work_s = e, work_s
    return _taken(state, best)


@jit
def pick_decode(state: State, params: Params, exclude: int) -> int:
    """The decode engine whose steps take least time with all that it has or is to get, `exclude` left out; or NONE."""
    engines = state.engines
    best, best_s = NONE, np.inf
    for e in range(state.cursors[SLOTS]):
        if not engines[e].serving or engines[e].role != DECODE or e == exclude:
            continue
        requests = engines[e].batch + _waiting(state, e)
        step_s = decode_step_s(params, requests, engines[e].kv)
        if step_s < best_s or (step_s == best_s and engines[e].turn < engines[best].turn):
            best, best_s = e, step_s
    return _taken(state, best)


@jit
def _waiting(state: State, e: int) -> int:
    """Requests that engine `e` has in its queues."""
    queues = state.queues[e]
    return queues[PROMPTS].count + queues[ROOMS].count + queues[LINKS].count + queues[JOINS].count


@jit
def pick_local(state: State, params: Params, r: int) -> tuple[int, float]:
    """The decode engine that would give `r` its first token soonest by itself, and the predicted TTFT; or NONE."""
    engines = state.engines
    best, best_s = NONE, np.inf
    for e in range(state.cursors[SLOTS]):
        if not engines[e].serving or engines[e].role != DECODE:
            continue
        ttft_s = local_ttft_s(state, params, e, r)
        if ttft_s < best_s or (ttft_s == best_s and engines[e].turn < engines[best].turn):
            best, best_s = e, ttft_s
    return best, best_s


@jit
def _has_room(state: State, params: Params, e: int, r: int) -> bool:
    """Whether engine `e` can take `r` too: its KV fits, nobody waits for room, and steps with it keep the TPOT target.

    A prompt that took the room which finished prefills wait for would hold up prefill, and so send more prompts here.
    """
    engine = state.engines[e]
    tokens = engine.kv + engine.prompt_tokens + state.requests[r].isl
    if state.queues[e, ROOMS].count > 0 or tokens > params.kv_tokens:
        return False
    requests = engine.batch + _waiting(state, e) + 1
    return bool(decode_step_s(params, requests, tokens) <= params.tpot_s)


@jit
def local_ttft_s(state: State, params: Params, e: int, r: int) -> float:
    """Predicted TTFT of `r` on engine `e` alone: its chunks share steps with the decodes of that engine."""
    engines = state.engines
    batch = engines[e].batch + state.queues[e, JOINS].count + state.queues[e, LINKS].count
    step_s = decode_step_s(params, batch, engines[e].kv)
    chunk = max(1, prompt_tokens(params, batch))
    tokens = engines[e].prompt_tokens + state.requests[r].isl
    return math.ceil(tokens / chunk) * step_s + engines[e].prompt_work_s + _own_s(state, params, r)


@jit
def remote_ttft_s(state: State, params: Params, p: int, r: int) -> float:
    """Predicted TTFT of `r` by prefill engine `p`: the work before it, its own, the transfer, a second call."""
    waits_s = state.engines[p].prompt_work_s + params.pass_s + params.latency_s
    return waits_s + _own_s(state, params, r) + params.transfer_s_per_token * state.requests[r].isl


@jit
def _own_s(state: State, params: Params, r: int) -> float:
    cached = min(state.requests[r].cached, state.requests[r].isl - 1)
    return prefill_s(params, cached, state.requests[r].isl - cached)


@jit
def choose(state: State, params: Params, r: int) -> tuple[int, bool]:
    """The engine that prefills `r`, and whether that one also decodes it. NONE: there is no engine at all."""
    p = pick_prefill(state)
    if p == NONE:
        d, _ = pick_local(state, params, r)
        return _taken(state, d), True
    if params.local == LOCAL_NEVER:
        return p, False
    remote_s = remote_ttft_s(state, params, p, r)
    if params.local != LOCAL_EAGER and remote_s + params.latency_s <= params.late_s:
        return p, False
    d, local_s = pick_local(state, params, r)
    if d == NONE or local_s >= remote_s or local_s + params.latency_s > params.ttft_s:
        return p, False
    if not _has_room(state, params, d, r):
        return p, False
    return _taken(state, d), True


@jit
def _taken(state: State, e: int) -> int:
    if e != NONE:
        state.cursors[TURN] += 1
        state.engines[e].turn = state.cursors[TURN]
    return e
