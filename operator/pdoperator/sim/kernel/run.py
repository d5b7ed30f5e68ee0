"""The event loop: arrivals, ends of steps, ends of transfers, in the order of time."""

from __future__ import annotations

import numpy as np

from pdoperator.sim.kernel.jit import jit
from pdoperator.sim.kernel.queues import append, schedule
from pdoperator.sim.kernel.requests import enqueue_prompt, fail, prompt_length
from pdoperator.sim.kernel.routing import choose, pick_decode, pick_local
from pdoperator.sim.kernel.state import (
    ADMITTED,
    CACHED_SUM,
    DECODING,
    DEFERRED,
    ISL_SQUARES,
    ISL_SUM,
    JOINS,
    LINKS,
    LOCAL_PREFILLS,
    NEXT_ARRIVAL,
    NONE,
    OUTSTANDING,
    PREFILLING,
    PROMPTS,
    QUEUES,
    ROOMS,
    SLOTS,
    Params,
    State,
)
from pdoperator.sim.kernel.steps import end_decode_steps, go_on_here, next_complete_prompt, start_step, wake
from pdoperator.sim.kernel.transfers import hand_over, next_arrived


@jit
def run_until(state: State, params: Params, until_s: float) -> None:
    """Take all events up to and including `until_s`."""
    requests = state.requests
    n, slots = len(requests), len(state.events) // 2
    while True:
        i = state.cursors[NEXT_ARRIVAL]
        arrival_s = requests[i].arrival_s if i < n else np.inf
        slot = state.events[0].heap
        event_s = state.events[slot].at_s
        if min(arrival_s, event_s) > until_s or (i >= n and event_s == np.inf):
            return
        if arrival_s < event_s:
            state.cursors[NEXT_ARRIVAL] += 1
            _arrive(state, params, i, arrival_s)
        elif slot < slots:
            _end_step(state, params, slot, event_s)
        else:
            _end_transfer(state, params, slot - slots, event_s)


@jit
def _arrive(state: State, params: Params, r: int, now_s: float) -> None:
    requests, counts = state.requests, state.counts
    counts[ADMITTED] += 1
    counts[ISL_SUM] += requests[r].isl
    counts[ISL_SQUARES] += float(requests[r].isl) ** 2
    counts[CACHED_SUM] += requests[r].cached
    state.cursors[OUTSTANDING] += 1
    if requests[r].isl + requests[r].osl > params.kv_tokens:
        fail(state, r)
    else:
        _route(state, params, r, now_s)


@jit
def _route(state: State, params: Params, r: int, now_s: float) -> None:
    e, local, deferred = choose(state, params, r, now_s)
    if e == NONE:
        fail(state, r)
        return
    state.counts[LOCAL_PREFILLS] += local
    enqueue_prompt(state, params, e, r, local, deferred, now_s)
    wake(state, params, e, now_s)


@jit
def _end_step(state: State, params: Params, e: int, now_s: float) -> None:
    end_decode_steps(state, params, e, now_s)
    while True:
        r = next_complete_prompt(state, params, e)
        if r == NONE:
            break
        d = NONE if state.requests[r].local else pick_decode(state, params, e)
        if d == NONE:
            go_on_here(state, params, e, r, now_s)
        else:
            hand_over(state, params, r, d)
            wake(state, params, d, now_s)
    start_step(state, params, e, now_s)


@jit
def _end_transfer(state: State, params: Params, d: int, now_s: float) -> None:
    """KV has arrived: its source forgets it, the request joins the batch. Or its source was lost meanwhile."""
    requests, engines = state.requests, state.engines
    r = next_arrived(state, d)
    source = requests[r].source
    if source == NONE:
        engines[d].kv -= requests[r].isl
        enqueue_prompt(state, params, d, r, True, False, now_s)
    else:
        engines[source].kv -= requests[r].isl + 1
        engines[source].exports -= 1
        requests[r].state = DECODING
        append(state, JOINS, d, r)
        queues = state.queues[source]
        if queues[PROMPTS].count + queues[DEFERRED].count + queues[ROOMS].count > 0:
            wake(state, params, source, now_s)
    wake(state, params, d, now_s)


@jit
def kill(state: State, params: Params, e: int, now_s: float) -> None:
    """Engine `e` is gone at once. Its requests that have given no token yet are served elsewhere, the others fail."""
    engines = state.engines
    engines[e].alive = engines[e].serving = engines[e].busy = False
    schedule(state.events, e, np.inf)
    schedule(state.events, len(state.events) // 2 + e, np.inf)
    _lose_kv(state, e)
    queues, batch = state.queues[e], engines[e].batch
    prompts, deferred, rooms, links, joins = (
        queues[PROMPTS].head,
        queues[DEFERRED].head,
        queues[ROOMS].head,
        queues[LINKS].head,
        queues[JOINS].head,
    )
    _empty_slot(state, e)
    for i in range(batch):
        _try_again(state, params, state.members[e, i].request, now_s)
    for head in (joins, links, rooms, prompts, deferred):
        r = head
        while r != NONE:
            following = state.requests[r].next
            _try_again(state, params, r, now_s)
            r = following


@jit
def _lose_kv(state: State, e: int) -> None:
    """What others were to fetch from `e` they must compute themselves."""
    for d in range(state.cursors[SLOTS]):
        for kind in (ROOMS, LINKS):
            r = state.queues[d, kind].head
            while r != NONE:
                if state.requests[r].source == e:
                    state.requests[r].source = NONE
                r = state.requests[r].next


@jit
def _try_again(state: State, params: Params, r: int, now_s: float) -> None:
    """Once more, as the router does: another prefill engine, or past the prefill a decode engine on its own."""
    requests, engines = state.requests, state.engines
    if requests[r].first_s <= now_s:
        fail(state, r)
        return
    requests[r].first_s = requests[r].finish_s = np.nan
    if requests[r].state == PREFILLING:
        _route(state, params, r, now_s)
        return
    if requests[r].state != DECODING and requests[r].source != NONE:
        engines[requests[r].source].kv -= prompt_length(state, r) + 1
        engines[requests[r].source].exports -= 1
    d, _ = pick_local(state, params, r, False)
    if d == NONE:
        _route(state, params, r, now_s)
    else:
        enqueue_prompt(state, params, d, r, True, False, now_s)
        wake(state, params, d, now_s)


@jit
def _empty_slot(state: State, e: int) -> None:
    engine = state.engines[e]
    for kind in range(QUEUES):
        queue = state.queues[e, kind]
        queue.head = queue.tail = NONE
        queue.count = queue.tokens = 0
        queue.work_s = 0.0
    engine.batch = engine.exports = engine.run_prompts = engine.run_partial = 0
    engine.context = engine.kv = engine.run_steps = 0


@jit
def is_empty(state: State, e: int) -> bool:
    """Whether engine `e` has nothing to do and holds nothing for others."""
    engine, queues = state.engines[e], state.queues[e]
    waiting = queues[PROMPTS].count + queues[DEFERRED].count + queues[ROOMS].count
    return not engine.busy and engine.kv == 0 and waiting == 0
