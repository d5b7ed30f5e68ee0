"""KV from the engine that prefilled to the engine that decodes: pulled when that one has room, over both links."""

from __future__ import annotations

from pdoperator.sim.kernel.jit import jit
from pdoperator.sim.kernel.queues import append, insert, pop, schedule
from pdoperator.sim.kernel.requests import enqueue_prompt, has_room, prompt_length
from pdoperator.sim.kernel.state import HANDED_OVER, LINKS, NONE, PROMPTS, ROOMS, Params, State


@jit
def hand_over(state: State, params: Params, r: int, d: int) -> None:
    """Decode engine `d` is to fetch the KV of `r`, between two of its steps; until then it stays where it is.

    Where late prompts yield they do so here too: vLLM takes requests in the order of the priority that the router set.
    """
    state.requests[r].state = HANDED_OVER
    state.engines[state.requests[r].source].exports += 1
    if params.deferral_s > 0:
        insert(state, params, ROOMS, d, r)
    else:
        append(state, ROOMS, d, r)


@jit
def fetch_waiting(state: State, params: Params, d: int, now_s: float) -> None:
    """Begin to fetch, in order, what there is room for. Who was preempted goes first: vLLM has one queue for both."""
    requests = state.requests
    first = state.queues[d, PROMPTS].head
    if first != NONE and requests[first].generated > 0:
        return
    while state.queues[d, ROOMS].count > 0 and state.engines[d].batch < params.max_batch:
        r = state.queues[d, ROOMS].head
        if requests[r].source == NONE:  # its KV is lost: computed anew
            pop(state, ROOMS, d)
            enqueue_prompt(state, params, d, r, True, False, now_s)
        elif has_room(state, params, d, r):
            pop(state, ROOMS, d)
            _fetch(state, params, r, d, now_s)
        else:
            return


@jit
def _fetch(state: State, params: Params, r: int, d: int, now_s: float) -> None:
    """The transfer passes the link of its source and then that of `d`, each in turn; a block takes both at a time.

    Beside the bytes it costs the call of a second engine.
    """
    requests, engines = state.requests, state.engines
    source = requests[r].source
    taken_s = requests[r].isl * params.transfer_s_per_token
    sent_s = max(now_s, engines[source].link_out_free_s) + taken_s
    received_s = max(sent_s, engines[d].link_in_free_s + taken_s)
    engines[source].link_out_free_s, engines[d].link_in_free_s = sent_s, received_s
    engines[d].kv += prompt_length(state, r)
    requests[r].finish_s = received_s + params.latency_s
    append(state, LINKS, d, r)
    if state.queues[d, LINKS].count == 1:
        schedule(state.events, len(state.events) // 2 + d, requests[r].finish_s)


@jit
def next_arrived(state: State, d: int) -> int:
    """The request whose transfer to `d` has ended, taken out of the queue."""
    r = pop(state, LINKS, d)
    following = state.queues[d, LINKS].head
    next_s = float("inf") if following == NONE else state.requests[following].finish_s
    schedule(state.events, len(state.events) // 2 + d, next_s)
    state.requests[r].finish_s = float("nan")
    return r
