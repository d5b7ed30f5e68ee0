"""What steps cost, as `Profile.step_s` of the capacity room, and how many prompt tokens one may have."""

from __future__ import annotations

import math

from pdoperator.sim.kernel.jit import jit
from pdoperator.sim.kernel.state import Params


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
def steps_until(params: Params, batch: int, context: int, elapsed_s: float) -> int:
    """Decode steps that have ended when the one under way after `elapsed_s` has: the least k with run_s(k) >= it."""
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


@jit
def prompt_tokens(params: Params, batch: int) -> int:
    """Prompt tokens that fit a step beside the decodes of `batch` requests."""
    return max(0, params.batched_tokens - batch)
