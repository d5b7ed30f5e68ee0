"""The event loop: arrivals, ends of steps, ends of transfers, in the order of time."""

from __future__ import annotations

import numpy as np

from pdoperator.sim.kernel.queues import append, jit, pop, schedule
from pdoperator.sim.kernel.routing import choose, pick_decode
from pdoperator.sim.kernel.state import (
    ADMITTED,
    CACHED_SUM,
    DECODING,
    FAILED,
    HANDED_OVER,
    ISL_SQUARES,
    ISL_SUM,
    JOINS,
    LINKS,
    LOCAL_PREFILLS,
    NEXT_ARRIVAL,
    NONE,
    OUTSTANDING,
    PROMPTS,
    QUEUES,
    ROOMS,
    UNSEEN,
    Params,
    State,
)
from pdoperator.sim.kernel.steps import (
    end_decode_steps,
    enqueue_prompt,
    fail,
    go_on_here,
    has_room,
    next_complete_prompt,
    start_step,
    wake,
)


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
    if requests[r].isl + requests[r].osl + 1 > params.kv_tokens:
        fail(state, r)
    else:
        _route(state, params, r, now_s)


@jit
def _route(state: State, params: Params, r: int, now_s: float) -> None:
    e, local = choose(state, params, r)
    if e == NONE:
        fail(state, r)
        return
    state.requests[r].local = local
    state.counts[LOCAL_PREFILLS] += local
    enqueue_prompt(state, params, e, r)
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
            _hand_over(state, params, r, d, now_s)
    _fetch_waiting(state, params, e, now_s)
    start_step(state, params, e, now_s)


@jit
def _hand_over(state: State, params: Params, r: int, d: int, now_s: float) -> None:
    """Decode engine `d` is to fetch the KV of `r`; while it has no room the KV stays where it is."""
    requests, engines = state.requests, state.engines
    requests[r].state = HANDED_OVER
    requests[r].target = d
    engines[requests[r].source].exports += 1
    if state.queues[d, ROOMS].count == 0 and has_room(state, params, d, requests[r].isl + 1):
        _fetch(state, params, r, d, now_s)
    else:
        append(state, ROOMS, d, r)


@jit
def _fetch_waiting(state: State, params: Params, d: int, now_s: float) -> None:
    requests = state.requests
    while state.queues[d, ROOMS].count > 0:
        r = state.queues[d, ROOMS].head
        if requests[r].state != FAILED and not has_room(state, params, d, requests[r].isl + 1):
            return
        pop(state, ROOMS, d)
        if requests[r].state != FAILED:
            _fetch(state, params, r, d, now_s)


@jit
def _fetch(state: State, params: Params, r: int, d: int, now_s: float) -> None:
    """The transfer of `r` takes its turn on the links of both engines; the room is promised from now on."""
    requests, engines = state.requests, state.engines
    source = requests[r].source
    engines[d].kv += requests[r].isl
    begin_s = max(now_s, engines[d].link_free_s, engines[source].link_free_s)
    end_s = begin_s + requests[r].isl * params.transfer_s_per_token
    engines[d].link_free_s = engines[source].link_free_s = end_s
    requests[r].finish_s = end_s
    append(state, LINKS, d, r)
    if state.queues[d, LINKS].count == 1:
        schedule(state.events, len(state.events) // 2 + d, end_s)


@jit
def _end_transfer(state: State, params: Params, d: int, now_s: float) -> None:
    """KV has arrived: its source may forget it, the request joins the batch."""
    requests, engines = state.requests, state.engines
    r = pop(state, LINKS, d)
    following = state.queues[d, LINKS].head
    next_s = np.inf if following == NONE else requests[following].finish_s
    schedule(state.events, len(state.events) // 2 + d, next_s)
    requests[r].finish_s = np.nan
    if requests[r].state == FAILED:
        engines[d].kv -= requests[r].isl
        return
    source = requests[r].source
    engines[source].kv -= requests[r].isl
    engines[source].exports -= 1
    requests[r].state = DECODING
    append(state, JOINS, d, r)
    wake(state, params, d, now_s)
    _fetch_waiting(state, params, source, now_s)
    if engines[source].alive and not engines[source].busy:
        start_step(state, params, source, now_s)


@jit
def kill(state: State, params: Params, e: int, now_s: float) -> None:
    """Engine `e` is gone at once. Prompts that only waited there are routed anew, all else that was on it fails.

    A real router would try those again too where no token had been sent: this errs on the hard side.
    """
    requests, engines = state.requests, state.engines
    engines[e].alive = engines[e].serving = engines[e].busy = False
    schedule(state.events, e, np.inf)
    schedule(state.events, len(state.events) // 2 + e, np.inf)
    for r in range(state.cursors[NEXT_ARRIVAL]):
        if requests[r].state == HANDED_OVER and (requests[r].source == e or requests[r].target == e):
            if requests[r].target == e and requests[r].source != e:
                engines[requests[r].source].kv -= requests[r].isl
            fail(state, r)
    for i in range(engines[e].batch):
        fail(state, state.members[e, i].request)
    while state.queues[e, JOINS].count > 0:
        r = pop(state, JOINS, e)
        if requests[r].state != FAILED:
            fail(state, r)
    waiting = state.queues[e, PROMPTS].head
    _empty_slot(state, e)
    while waiting != NONE:
        r, waiting = waiting, requests[waiting].next
        requests[r].next = NONE
        if requests[r].generated > 0:
            fail(state, r)
        else:
            requests[r].state, requests[r].reserved, requests[r].source = UNSEEN, False, NONE
            _route(state, params, r, now_s)


@jit
def _empty_slot(state: State, e: int) -> None:
    engine = state.engines[e]
    for kind in range(QUEUES):
        queue = state.queues[e, kind]
        queue.head = queue.tail = NONE
        queue.count = 0
    engine.batch = engine.exports = engine.run_prompts = engine.run_partial = 0
    engine.prompt_tokens = engine.context = engine.kv = engine.run_steps = 0
    engine.prompt_work_s = 0.0


@jit
def is_empty(state: State, e: int) -> bool:
    """Whether engine `e` has nothing to do and holds nothing for others."""
    engine, queues = state.engines[e], state.queues[e]
    return not engine.busy and engine.kv == 0 and queues[PROMPTS].count + queues[ROOMS].count == 0
