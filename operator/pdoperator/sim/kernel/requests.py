"""One request: its prompt in an engine's queue, its KV, its end."""

from __future__ import annotations

from pdoperator.sim.kernel.answers import count_answer
from pdoperator.sim.kernel.costs import prefill_s
from pdoperator.sim.kernel.jit import jit
from pdoperator.sim.kernel.queues import append, pop
from pdoperator.sim.kernel.state import (
    DEFERRED,
    ENDED,
    ENDED_ISL_SUM,
    FAILED,
    FINISHED,
    MISSED,
    NONE,
    OSL_SQUARES,
    OSL_SUM,
    OUTSTANDING,
    PREFILLING,
    PRODUCT_SUM,
    PROMPTS,
    SERVED,
    TPOT_COUNT,
    TPOT_SUM,
    TTFT_SUM,
    Params,
    State,
)


@jit
def prompt_length(state: State, r: int) -> int:
    """Tokens whose KV a prefill of `r` makes: the prompt, and after a preemption what was generated too."""
    return state.requests[r].isl + state.requests[r].generated


@jit
def has_room(state: State, params: Params, e: int, r: int) -> bool:
    """Whether the prompt of `r` and a token more fit beside what is there and the next token of each that decodes.

    vLLM lets in whom it has room for as a whole (scheduler-reserve-full-isl) and keeps nothing free (watermark 0).
    """
    engine = state.engines[e]
    return engine.kv + engine.batch + prompt_length(state, r) + 1 <= params.kv_tokens


@jit
def enqueue_prompt(
    state: State, params: Params, e: int, r: int, local: bool, deferred: bool, now_s: float
) -> None:
    """Engine `e` is to prefill `r`, and with `local` to decode it. A cached prefix is free, the last token never is."""
    requests = state.requests
    requests[r].deferred = deferred
    requests[r].state = PREFILLING
    requests[r].source = e
    requests[r].local = local
    requests[r].reserved = False
    requests[r].prefilled = min(requests[r].cached, requests[r].isl - 1)
    if not deferred:
        end_deferrals(state, params, e, now_s)
    kind = DEFERRED if deferred else PROMPTS
    append(state, kind, e, r)
    account(state, params, e, r, kind, 1)


@jit
def end_deferrals(state: State, params: Params, e: int, now_s: float) -> None:
    """Prompts that have yielded long enough go before all that come from now on: none starves."""
    while True:
        r = state.queues[e, DEFERRED].head
        if r == NONE or state.requests[r].arrival_s + params.deferral_s > now_s:
            return
        end_deferral(state, params, e)


@jit
def end_deferral(state: State, params: Params, e: int) -> None:
    """The first of the deferred prompts goes to the end of the others."""
    r = pop(state, DEFERRED, e)
    account(state, params, e, r, DEFERRED, -1)
    append(state, PROMPTS, e, r)
    account(state, params, e, r, PROMPTS, 1)


@jit
def account(state: State, params: Params, e: int, r: int, kind: int, sign: int) -> None:
    """Add (1) or take off (-1) what is left of the prompt of `r` from the work of the queue that it stands in."""
    done = state.requests[r].prefilled
    left = prompt_length(state, r) - done
    queue = state.queues[e, kind]
    queue.tokens += sign * left
    if queue.tokens == 0:  # rounding must not pile up
        queue.work_s = 0.0
    else:
        queue.work_s += sign * prefill_s(params, done, left)


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
    count_answer(state, osl)
    counts[OSL_SUM] += osl
    counts[OSL_SQUARES] += float(osl) ** 2
    counts[ENDED_ISL_SUM] += requests[r].isl
    counts[PRODUCT_SUM] += float(requests[r].isl) * osl
    counts[TTFT_SUM] += ttft_s
    if osl > 1:
        counts[TPOT_SUM] += tpot_s
        counts[TPOT_COUNT] += 1
