"""The steps of one engine, as vLLM's scheduler makes them: the whole batch decodes one token, prompts fill the rest.

While nothing joins and no prompt waits, equal steps are taken as one run: `k` steps of a batch of B with `c` tokens of
context take k (itl_a + itl_b B + itl_c c) + itl_c B^2 k (k - 1) / 2 seconds.
"""

from __future__ import annotations

import math

import numpy as np

from pdoperator.sim.kernel.queues import append, batch_push, batch_remove, jit, pop, push_front, schedule
from pdoperator.sim.kernel.state import (
    DECODING,
    ENDED,
    FAILED,
    FINISHED,
    JOINS,
    MISSED,
    NONE,
    OSL_SQUARES,
    OSL_SUM,
    OUTSTANDING,
    PREEMPTED,
    PREFILLING,
    PROMPTS,
    SERVED,
    TPOT_COUNT,
    TPOT_SUM,
    TTFT_SUM,
    Params,
    State,
)

# vLLM lets a request in only while this share of the KV cache stays free for those inside to grow.
KV_WATERMARK = 0.01


@jit
def prefill_s(params: Params, done: int, tokens: int) -> float:
    """What `tokens` of a prompt cost a step after `done` of its tokens."""
    return params.ttft_b * tokens + params.ttft_c * (float(done + tokens) ** 2 - float(done) ** 2)


@jit
def decode_step_s(params: Params, batch: float, context: float) -> float:
    """One step that only decodes."""
    return params.itl_a + params.itl_b * batch + params.itl_c * context


@jit
def run_s(params: Params, batch: int, context: int, steps: int) -> float:
    """`steps` decode steps in a row; the context grows by the batch with each."""
    grown = params.itl_c * float(batch) * steps * (steps - 1) / 2
    return steps * decode_step_s(params, batch, context) + grown


@jit
def chunk_tokens(params: Params, batch: int) -> int:
    """Prompt tokens that fit a step beside the decodes of `batch` requests."""
    return max(1, params.batched_tokens - batch)


@jit
def has_room(state: State, params: Params, e: int, tokens: int) -> bool:
    """Whether KV of so many tokens may be let in: within the watermark, or alone."""
    kv = state.engines[e].kv
    return kv + tokens <= params.kv_tokens * (1 - KV_WATERMARK) or kv == 0


@jit
def prompt_length(state: State, r: int) -> int:
    """Tokens whose KV a prefill of `r` makes: the prompt, and after a preemption what was generated too."""
    return state.requests[r].isl + state.requests[r].generated


@jit
def enqueue_prompt(state: State, params: Params, e: int, r: int) -> None:
    """Engine `e` is to prefill `r`. A prefix that the cache holds costs nothing, but the last token always does."""
    requests = state.requests
    requests[r].state = PREFILLING
    requests[r].source = e
    requests[r].prefilled = min(requests[r].cached, requests[r].isl - 1)
    append(state, PROMPTS, e, r)
    _account(state, params, e, r, 1)


@jit
def _account(state: State, params: Params, e: int, r: int, sign: int) -> None:
    """Add (1) or take off (-1) what is left of the prompt of `r` from the work that waits at `e`."""
    done = state.requests[r].prefilled
    left = prompt_length(state, r) - done
    state.engines[e].prompt_tokens += sign * left
    if state.engines[e].prompt_tokens == 0:  # rounding must not pile up
        state.engines[e].prompt_work_s = 0.0
    else:
        state.engines[e].prompt_work_s += sign * prefill_s(params, done, left)


@jit
def fail(state: State, r: int) -> None:
    """The request ends without having been served: a miss."""
    state.requests[r].state = FAILED
    state.counts[ENDED] += 1
    state.counts[MISSED] += 1
    state.cursors[OUTSTANDING] -= 1


@jit
def finish(state: State, params: Params, r: int, now_s: float) -> None:
    """The request got its last token."""
    requests, counts = state.requests, state.counts
    requests[r].state = FINISHED
    requests[r].finish_s = now_s
    state.cursors[OUTSTANDING] -= 1
    osl = requests[r].osl
    ttft_s = requests[r].first_s - requests[r].arrival_s + params.latency_s
    tpot_s = (now_s - requests[r].first_s) / (osl - 1) if osl > 1 else 0.0
    counts[ENDED] += 1
    counts[SERVED] += 1
    if ttft_s > params.ttft_s or tpot_s > params.tpot_s:
        counts[MISSED] += 1
    counts[OSL_SUM] += osl
    counts[OSL_SQUARES] += float(osl) ** 2
    counts[TTFT_SUM] += ttft_s
    if osl > 1:
        counts[TPOT_SUM] += tpot_s
        counts[TPOT_COUNT] += 1


@jit
def start_step(state: State, params: Params, e: int, now_s: float) -> None:
    """Begin what engine `e` does next: a step with prompts, a run of decode steps, or nothing."""
    engines = state.engines
    _preempt(state, params, e)
    joined = _join_batch(state, params, e)
    batch, context = engines[e].batch, engines[e].context
    prompts_s = _take_prompts(state, params, e)
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
    if batch > 0 and not has_prompts:
        steps = min(state.members[e, 0].end - engines[e].steps, (params.kv_tokens - engines[e].kv) // batch)
        engines[e].run_steps = steps
        step_s = run_s(params, batch, context, steps)
    schedule(state.events, e, now_s + step_s)


@jit
def _preempt(state: State, params: Params, e: int) -> None:
    """Where the next tokens do not fit, those that ended last go back: their KV is lost and computed anew."""
    requests, engines = state.requests, state.engines
    while engines[e].batch > 0 and engines[e].kv + engines[e].batch > params.kv_tokens:
        last = 0
        for i in range(engines[e].batch):  # the newest arrival, as vLLM does
            if state.members[e, i].request > state.members[e, last].request:
                last = i
        end = state.members[e, last].end
        r = batch_remove(state, e, last)
        requests[r].generated = requests[r].osl - (end - engines[e].steps)
        held = prompt_length(state, r)
        engines[e].kv -= held
        engines[e].context -= held
        requests[r].local = True
        requests[r].reserved = False
        requests[r].state = PREFILLING
        requests[r].prefilled = 0
        push_front(state, PROMPTS, e, r)
        _account(state, params, e, r, 1)
        state.counts[PREEMPTED] += 1


@jit
def _join_batch(state: State, params: Params, e: int) -> int:
    """Those whose KV is here join; their number, themselves in `state.joined`."""
    requests, engines = state.requests, state.engines
    joined = 0
    while state.queues[e, JOINS].count > 0 and engines[e].batch < params.max_batch:
        if engines[e].kv + engines[e].batch + 1 > params.kv_tokens:
            break
        r = pop(state, JOINS, e)
        if requests[r].state == FAILED:
            continue
        requests[r].state = DECODING
        batch_push(state, e, r, engines[e].steps + requests[r].osl - requests[r].generated)
        engines[e].context += prompt_length(state, r)
        state.joined[joined] = r
        joined += 1
    return joined


@jit
def _take_prompts(state: State, params: Params, e: int) -> float:
    """Pack waiting prompts, in order and the last one cut, into the step; what they add to it, seconds."""
    requests, engines = state.requests, state.engines
    engines[e].run_prompts, engines[e].run_partial = 0, 0
    r = state.queues[e, PROMPTS].head
    if r == NONE:
        return 0.0
    batch = engines[e].batch
    budget = chunk_tokens(params, batch)
    cost_s = 0.0
    while r != NONE and budget > 0 and engines[e].run_prompts + batch < params.max_batch:
        length = prompt_length(state, r)
        if not requests[r].reserved:
            if not has_room(state, params, e, length + 1 + batch):
                break
            requests[r].reserved = True
            engines[e].kv += length
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
            _account(state, params, e, r, -1)
            requests[r].prefilled += engines[e].run_partial
            _account(state, params, e, r, 1)
            engines[e].run_partial = 0
        return NONE
    engines[e].run_prompts -= 1
    r = pop(state, PROMPTS, e)
    _account(state, params, e, r, -1)
    requests[r].prefilled = prompt_length(state, r)
    return r


@jit
def go_on_here(state: State, params: Params, e: int, r: int, now_s: float) -> None:
    """A prompt is complete where it is to be decoded: the pass gave its next token."""
    requests, engines = state.requests, state.engines
    requests[r].state = DECODING
    requests[r].target = e
    requests[r].generated += 1
    engines[e].kv += 1
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
    steps = _steps_until(state, params, e, now_s - engines[e].run_start_s)
    if steps < engines[e].run_steps:
        engines[e].run_steps = steps
        end_s = engines[e].run_start_s + run_s(params, engines[e].batch, engines[e].context, steps)
        schedule(state.events, e, max(now_s, end_s))


@jit
def _steps_until(state: State, params: Params, e: int, elapsed_s: float) -> int:
    """Decode steps that have ended when the one under way after `elapsed_s` has: the least k with run_s(k) >= it."""
    batch, context = state.engines[e].batch, state.engines[e].context
    quadratic = params.itl_c * batch / 2
    linear = decode_step_s(params, batch, context) - quadratic
    if quadratic < 1e-15:
        steps = math.ceil(elapsed_s / linear)
    else:
        steps = math.ceil((math.sqrt(linear**2 + 4 * quadratic * elapsed_s) - linear) / (2 * quadratic))
    steps = max(1, steps)
    while run_s(params, batch, context, steps) < elapsed_s:
        steps += 1
    while steps > 1 and run_s(params, batch, context, steps - 1) >= elapsed_s:
        steps -= 1
    return steps
