"""Answers by length, as the router counts them: see `pdrouter_generated_tokens_total`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pdoperator.sim.kernel.costs import steps_until
from pdoperator.sim.kernel.jit import jit
from pdoperator.sim.kernel.state import (
    CLASSES,
    ENDED_COUNT,
    ENDED_POSITIONS,
    ENDED_TOKENS,
    SLOTS,
    Params,
    State,
)


@jit
def count_answer(state: State, tokens: int) -> None:
    """One is complete."""
    at = add_positions(state.lengths[ENDED_POSITIONS], tokens)
    state.lengths[ENDED_COUNT, at] += 1
    state.lengths[ENDED_TOKENS, at] += tokens


@jit
def add_positions(row: NDArray[np.float64], tokens: int) -> int:
    """Add each token of an answer to the class of its position; the class of the last one."""
    at, start, bound = 0, 0, 1
    while tokens > bound and at < CLASSES - 1:
        row[at] += bound - start
        at, start, bound = at + 1, bound, 2 * bound
    row[at] += tokens - start
    return at


def generated_by_position(state: State, params: Params, now_s: float) -> NDArray[np.float64]:
    """Tokens generated since time 0 by class of position, those of answers under way too."""
    row: NDArray[np.float64] = state.lengths[ENDED_POSITIONS].copy()
    _add_under_way(state, params, now_s, row)
    return row


@jit
def _add_under_way(state: State, params: Params, now_s: float, row: NDArray[np.float64]) -> None:
    """To `row`: what the engines are in the middle of."""
    for e in range(state.cursors[SLOTS]):
        engine = state.engines[e]
        if engine.batch == 0:
            continue
        steps = engine.steps
        if engine.busy and engine.run_steps > 1:
            steps += steps_until(params, engine.batch, engine.context, now_s - engine.run_start_s) - 1
        for i in range(engine.batch):
            member = state.members[e, i]
            add_positions(row, state.requests[member.request].osl - max(0, member.end - steps))
