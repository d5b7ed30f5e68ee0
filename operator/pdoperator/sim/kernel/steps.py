"""The steps of one engine, as vLLM's scheduler makes them: the whole batch decodes one token, prompts fill the rest.

While nothing joins and no prompt waits, equal steps are taken as one run: `k` steps of a batch of B with `c` tokens of
context take k (itl_a + itl_b B + itl_c c) + itl_c B^2 k (k - 1) / 2 seconds.
"""

from __future__ import annotations

import numpy as np

from pdoperator.sim.kernel.costs import decode_step_s, prefill_s, prompt_tokens, run_s, steps_until
from pdoperator.sim.kernel.jit import jit
from pdoperator.sim.kernel.queues import append, batch_push, batch_remove, pop, push_front, schedule
from pdoperator.sim.kernel.requests import account, end_deferral, finish, has_room, prompt_length
from pdoperator.sim.kernel.state import (
    DECODING,
    DEFERRED,
    JOINED,
    JOINS,
    NONE,
    PREEMPTED,
    PREFILLING,
    PROMPTS,
    Params,
    State,
)
from pdoperator.sim.kernel.transfers import fetch_waiting


@jit
def start_step(state: State, params: Params, e: int, now_s: float) -> None:
    """Begin what engine `e` does next: a step with prompts, a run of decode steps, or nothing.

    As in vLLM nobody is let in, neither a prompt nor KV of another engine, in a step for which somebody was preempted.
    """
    engines = state.engines
    preempted = _preempt(state, params, e)
    joined = _join_batch(state, params, e)
    if not preempted:
        fetch_waiting(state, params, e, now_s)
    batch, context = engines[e].batch, engines[e].context
    prompts_s = 0.0 if preempted else _take_prompts(state, params, e)
    has_prompts = engines[e].run_prompts > 0 or engines[e].run_partial > 0
    engines[e].busy = batch > 0 or has_prompts
    if not engines[e].busy:
        schedule(state.events, e, np.inf)
        return
    engines[e].run_start_s = now_s
    step_s = decode_step_s(params, batch, context) + prompts_s if batch > 0 else params.pass_s + prompts_s
    if batch > 0 and has_prompts:  # the weights are read once
        step_s += max(0.0, params.pass_s - params.itl_a)
    for i in range(joined):
        r = state.joined[i]
        if np.isnan(state.requests[r].first_s):
            state.requests[r].first_s = now_s + step_s
    engines[e].run_steps = 1 if batch > 0 else 0
    if batch > 0 and not has_prompts and not preempted:
        steps = min(state.members[e, 0].end - engines[e].steps, (params.kv_tokens - engines[e].kv) // batch)
        engines[e].run_steps = steps
        step_s = run_s(params, batch, context, steps)
    schedule(state.events, e, now_s + step_s)


@jit
def _preempt(state: State, params: Params, e: int) -> int:
    """Where the next tokens do not fit, who came in last goes back: its KV is lost and computed anew. How many went."""
    engines = state.engines
    preempted = 0
    while engines[e].batch > 0 and engines[e].kv + engines[e].batch > params.kv_tokens:
        first = state.queues[e, PROMPTS].head
        if first != NONE and state.requests[first].reserved:  # begun, not complete: nobody came after it
            _give_up(state, params, e, first)
        else:
            _preempt_youngest(state, params, e)
        preempted += 1
    state.counts[PREEMPTED] += preempted
    return preempted


@jit
def _give_up(state: State, params: Params, e: int, r: int) -> None:
    """A prompt that is partly done loses its KV where it stands in the queue."""
    account(state, params, e, r, PROMPTS, -1)
    state.engines[e].kv -= prompt_length(state, r) + 1
    state.requests[r].reserved = False
    state.requests[r].prefilled = 0
    account(state, params, e, r, PROMPTS, 1)


@jit
def _preempt_youngest(state: State, params: Params, e: int) -> None:
    """Who joined the batch last leaves it, to the head of the queue."""
    requests, engines = state.requests, state.engines
    last = 0
    for i in range(engines[e].batch):
        if requests[state.members[e, i].request].joined > requests[state.members[e, last].request].joined:
            last = i
    end = state.members[e, last].end
    r = batch_remove(state, e, last)
    requests[r].generated = requests[r].osl - (end - engines[e].steps)
    held = prompt_length(state, r)
    engines[e].kv -= held
    engines[e].context -= held
    requests[r].state = PREFILLING
    requests[r].source = e
    requests[r].local = True
    requests[r].reserved = False
    requests[r].prefilled = 0
    push_front(state, PROMPTS, e, r)
    account(state, params, e, r, PROMPTS, 1)


@jit
def _join_batch(state: State, params: Params, e: int) -> int:
    """Those whose KV is here join; their number, themselves in `state.joined`."""
    requests, engines = state.requests, state.engines
    joined = 0
    while state.queues[e, JOINS].count > 0 and engines[e].batch < params.max_batch:
        if engines[e].kv + engines[e].batch + 1 > params.kv_tokens:
            break
        r = pop(state, JOINS, e)
        batch_push(state, e, r, engines[e].steps + requests[r].osl - requests[r].generated)
        engines[e].context += prompt_length(state, r)
        requests[r].joined = state.cursors[JOINED]
        state.cursors[JOINED] += 1
        state.joined[joined] = r
        joined += 1
    return joined


@jit
def _take_prompts(state: State, params: Params, e: int) -> float:
    """Pack waiting prompts, deferred ones last and the very last one cut, into the step; what they add, seconds."""
    requests, engines = state.requests, state.engines
    engines[e].run_prompts, engines[e].run_partial = 0, 0
    r = state.queues[e, PROMPTS].head
    if r == NONE and state.queues[e, DEFERRED].head == NONE:
        return 0.0
    batch = engines[e].batch
    budget = prompt_tokens(params, batch)
    cost_s = 0.0
    while budget > 0 and engines[e].run_prompts + batch < params.max_batch:
        last = r == NONE
        if last:
            r = state.queues[e, DEFERRED].head
        if r == NONE:
            break
        length = prompt_length(state, r)
        if not requests[r].reserved:
            if not has_room(state, params, e, r):
                break
            if last:
                end_deferral(state, params, e)
            requests[r].reserved = True
            engines[e].kv += length + 1
        done = requests[r].prefilled
        tokens = min(length - done, budget)
        cost_s += prefill_s(params, done, tokens)
        budget -= tokens
        if done + tokens < length:
            engines[e].run_partial = tokens
            break
        engines[e].run_prompts += 1
        r = requests[r].next
    return cost_s


@jit
def end_decode_steps(state: State, params: Params, e: int, now_s: float) -> None:
    """The decode steps of the run are done: contexts have grown, who has all tokens ends."""
    requests, engines = state.requests, state.engines
    steps, batch = engines[e].run_steps, engines[e].batch
    engines[e].busy_s += now_s - engines[e].run_start_s
    engines[e].steps += steps
    engines[e].context += steps * batch
    engines[e].kv += steps * batch
    while engines[e].batch > 0 and state.members[e, 0].end <= engines[e].steps:
        r = batch_remove(state, e, 0)
        held = requests[r].isl + requests[r].osl
        engines[e].context -= held
        engines[e].kv -= held
        finish(state, params, r, now_s)


@jit
def next_complete_prompt(state: State, params: Params, e: int) -> int:
    """The next prompt that the step has completed, taken out of the queue; NONE when there are no more."""
    requests, engines = state.requests, state.engines
    if engines[e].run_prompts == 0:
        if engines[e].run_partial > 0:
            r = state.queues[e, PROMPTS].head
            account(state, params, e, r, PROMPTS, -1)
            requests[r].prefilled += engines[e].run_partial
            account(state, params, e, r, PROMPTS, 1)
            engines[e].run_partial = 0
        return NONE
    engines[e].run_prompts -= 1
    r = pop(state, PROMPTS, e)
    account(state, params, e, r, PROMPTS, -1)
    requests[r].prefilled = prompt_length(state, r)
    return r


@jit
def go_on_here(state: State, params: Params, e: int, r: int, now_s: float) -> None:
    """A prompt is complete where it is to be decoded: the step gave its next token."""
    requests, engines = state.requests, state.engines
    requests[r].state = DECODING
    requests[r].generated += 1
    if np.isnan(requests[r].first_s):
        requests[r].first_s = now_s
    if requests[r].generated >= requests[r].osl:
        engines[e].kv -= prompt_length(state, r)
        finish(state, params, r, now_s)
    else:
        append(state, JOINS, e, r)


@jit
def wake(state: State, params: Params, e: int, now_s: float) -> None:
    """Something waits at engine `e`: begin if it is idle, cut a run of decode steps at the end of the current one."""
    engines = state.engines
    if not engines[e].busy:
        start_step(state, params, e, now_s)
        return
    if engines[e].run_steps <= 1 or engines[e].run_prompts > 0 or engines[e].run_partial > 0:
        return
    batch, context = engines[e].batch, engines[e].context
    steps = steps_until(params, batch, context, now_s - engines[e].run_start_s)
    if steps < engines[e].run_steps:
        engines[e].run_steps = steps
        end_s = engines[e].run_start_s + run_s(params, batch, context, steps)
        schedule(state.events, e, max(now_s, end_s))


@jit
def kv_at(state: State, params: Params, e: int, now_s: float) -> int:
    """KV tokens that engine `e` holds now, in the middle of a run too."""
    engine = state.engines[e]
    if not engine.busy or engine.run_steps <= 1:
        return engine.kv
    done = steps_until(params, engine.batch, engine.context, now_s - engine.run_start_s) - 1
    return engine.kv + done * engine.batch
