"""The router in the compiled loop: predicted waits from what each engine has to do.

The formulas are those of the cluster's router (scheduling/predict.py), a test holds the two together. What that one
cannot see is known here: how far a prompt is, and who waits for room. What prefix caches hold it remembers by engine;
here a prompt finds on every engine what the trace says.
"""

from __future__ import annotations

import math

import numpy as np

from pdoperator.sim.kernel.costs import decode_step_s, prefill_s, prompt_tokens
from pdoperator.sim.kernel.jit import jit
from pdoperator.sim.kernel.requests import end_deferrals
from pdoperator.sim.kernel.state import (
    DECODE,
    DEFERRED,
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
def work_before(state: State, e: int, deferred: bool) -> tuple[float, int]:
    """Seconds and tokens of the prompts of engine `e` that go before a new one: deferred ones only if it is so too."""
    queues = state.queues[e]
    if deferred:
        return (
            queues[PROMPTS].work_s + queues[DEFERRED].work_s,
            queues[PROMPTS].tokens + queues[DEFERRED].tokens,
        )
    return queues[PROMPTS].work_s, queues[PROMPTS].tokens


@jit
def pick_prefill(state: State, deferred: bool) -> int:
    """The prefill engine with the least work before it, among equals the one whose turn is longest ago; or NONE."""
    engines = state.engines
    best, best_work_s = NONE, np.inf
    for e in range(state.cursors[SLOTS]):
        if not engines[e].serving or engines[e].role != PREFILL:
            continue
        work_s, _ = work_before(state, e, deferred)
        if _less(state, e, work_s, best, best_work_s):
            best, best_work_s = e, work_s
    return best


@jit
def _less(state: State, e: int, work_s: float, best: int, best_s: float) -> bool:
    """Whether engine `e` is before the `best` so far: less work, fewer deferred prompts, its turn longer ago."""
    if work_s != best_s:
        return bool(work_s < best_s)
    deferred, fewest = state.queues[e, DEFERRED].count, state.queues[best, DEFERRED].count
    if deferred != fewest:
        return bool(deferred < fewest)
    return bool(state.engines[e].turn < state.engines[best].turn)


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
    prompts = queues[PROMPTS].count + queues[DEFERRED].count
    return prompts + queues[ROOMS].count + queues[LINKS].count + queues[JOINS].count


@jit
def pick_local(state: State, params: Params, r: int, deferred: bool) -> tuple[int, float]:
    """The decode engine that would give `r` its first token soonest by itself, and the predicted TTFT; or NONE."""
    engines = state.engines
    best, best_s = NONE, np.inf
    for e in range(state.cursors[SLOTS]):
        if not engines[e].serving or engines[e].role != DECODE:
            continue
        ttft_s = local_ttft_s(state, params, e, r, deferred)
        if _less(state, e, ttft_s, best, best_s):
            best, best_s = e, ttft_s
    return best, best_s


@jit
def _has_room(state: State, params: Params, e: int, r: int) -> bool:
    """Whether engine `e` can take `r` too: its KV fits, nobody waits for room, and steps with it keep the TPOT target.

    A prompt that took the room which finished prefills wait for would hold up prefill, and so send more prompts here.
    """
    engine = state.engines[e]
    _, prompts = work_before(state, e, True)
    tokens = engine.kv + prompts + state.requests[r].isl
    if state.queues[e, ROOMS].count > 0 or tokens > params.kv_tokens:
        return False
    requests = engine.batch + _waiting(state, e) + 1
    return bool(decode_step_s(params, requests, tokens) <= params.tpot_s)


@jit
def local_ttft_s(state: State, params: Params, e: int, r: int, deferred: bool) -> float:
    """Predicted TTFT of `r` on engine `e` alone: its chunks share steps with the decodes of that engine."""
    engines = state.engines
    batch = engines[e].batch + state.queues[e, JOINS].count + state.queues[e, LINKS].count
    step_s = decode_step_s(params, batch, engines[e].kv)
    chunk = max(1, prompt_tokens(params, batch))
    work_s, before = work_before(state, e, deferred)
    tokens = before + state.requests[r].isl - _cached(state, r)
    return math.ceil(tokens / chunk) * step_s + work_s + _own_s(state, params, r)


@jit
def remote_ttft_s(state: State, params: Params, p: int, r: int) -> float:
    """Predicted TTFT of `r` by prefill engine `p`: the work before it, its own, the transfer, a second call."""
    work_s, _ = work_before(state, p, False)
    return _remote_after_s(state, params, work_s, r)


@jit
def _remote_after_s(state: State, params: Params, work_s: float, r: int) -> float:
    """The same by any prefill engine that has `work_s` before it."""
    waits_s = work_s + params.pass_s + params.latency_s
    return waits_s + _own_s(state, params, r) + params.transfer_s_per_token * state.requests[r].isl


@jit
def _own_s(state: State, params: Params, r: int) -> float:
    cached = _cached(state, r)
    return prefill_s(params, cached, state.requests[r].isl - cached)


@jit
def _cached(state: State, r: int) -> int:
    """Tokens of `r` that need no prefill; the last one always does."""
    return min(state.requests[r].cached, state.requests[r].isl - 1)


@jit
def choose(state: State, params: Params, r: int, now_s: float) -> tuple[int, bool, bool]:
    """The engine that prefills `r`, whether that one also decodes it, and whether it is deferred. NONE: there is none.

    Who is predicted to miss the TTFT target when it comes lets those go first that can still meet it, and stands where
    least is to be done in all.
    """
    if params.deferral_s > 0:
        for e in range(state.cursors[SLOTS]):
            end_deferrals(state, params, e, now_s)
    may_defer = params.deferral_s > 0 and now_s == state.requests[r].arrival_s
    p = pick_prefill(state, False)
    if p == NONE:
        d, local_s = pick_local(state, params, r, False)
        deferred = may_defer and d != NONE and local_s + params.latency_s > params.ttft_s
        if deferred:
            d, _ = pick_local(state, params, r, True)
        return _taken(state, d), True, deferred
    remote_s = remote_ttft_s(state, params, p, r)
    d = _instead(state, params, p, r, remote_s)
    if d != NONE:
        return _taken(state, d), True, False
    deferred = may_defer and remote_s + _others_s(state, params, p, r) + params.latency_s > params.ttft_s
    if deferred:
        p = pick_prefill(state, True)
    return _taken(state, p), False, deferred


@jit
def _instead(state: State, params: Params, p: int, r: int, remote_s: float) -> int:
    """The decode engine that prefills `r` better than prefill engine `p` would, in `remote_s`; or NONE.

    None while others crowd prompts out: then it is no burst, and decode engines that prefill all the time miss their
    own target.
    """
    if params.local == LOCAL_NEVER or _crowded(state, params, p):
        return NONE
    if params.local != LOCAL_EAGER and remote_s + params.latency_s <= params.late_s:
        return NONE
    d, local_s = pick_local(state, params, r, False)
    if d == NONE or local_s >= remote_s or local_s + params.latency_s > params.ttft_s:
        return NONE
    return d if _has_room(state, params, d, r) else NONE


@jit
def _crowded(state: State, params: Params, p: int) -> bool:
    """Whether a prompt is deferred on prefill engine `p` that would be in time if that had nothing else to do."""
    r = state.queues[p, DEFERRED].head
    while r != NONE:
        if not _too_long(state, params, r):
            return True
        r = state.requests[r].next
    return False


@jit
def _too_long(state: State, params: Params, r: int) -> bool:
    """Whether `r` is predicted to miss the TTFT target on an idle prefill engine too."""
    return bool(_remote_after_s(state, params, 0.0, r) + params.latency_s > params.ttft_s)


@jit
def _others_s(state: State, params: Params, p: int, r: int) -> float:
    """What prompts that come later may add to the TTFT of `r`: they fill the step that completes it, as many as were
    before it, and a decode step of theirs is awaited."""
    _, before = work_before(state, p, False)
    tokens = before + state.requests[r].isl - _cached(state, r)
    steps = math.ceil(tokens / params.batched_tokens)
    later = min(steps * params.batched_tokens - tokens, before)
    return (steps - 1) * params.pass_s + params.ttft_b * later + params.tpot_s


@jit
def _taken(state: State, e: int) -> int:
    if e != NONE:
        state.cursors[TURN] += 1
        state.engines[e].turn = state.cursors[TURN]
    return e
