"""What must hold at every moment of a run, summed up anew from where each request is."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pdoperator.sim.kernel import state as k
from pdoperator.sim.kernel.run import run_until
from pdoperator.sim.kernel.steps import kv_at


def run_checked(state: k.State, params: k.Params, until_s: float) -> None:
    """`run_until`, event by event, with `check` after each."""
    requests = state.requests
    while True:
        i = int(state.cursors[k.NEXT_ARRIVAL])
        arrival_s = float(requests["arrival_s"][i]) if i < len(requests) else np.inf
        next_s = min(arrival_s, float(state.events["at_s"].min()))
        if next_s > until_s or next_s == np.inf:
            run_until(state, params, until_s)
            return
        run_until(state, params, next_s)
        check(state, params, next_s)


def check(state: k.State, params: k.Params, now_s: float) -> None:
    """Sums agree with what they are sums of, nothing is beyond its limit, each request is in one place."""
    requests = state.requests
    place: Counter[int] = Counter()
    kv = np.zeros(len(state.engines), int)
    for e, engine in enumerate(state.engines):
        queues = [_queue(state, e, kind) for kind in range(k.QUEUES)]
        batch = [(int(m["request"]), int(m["end"])) for m in state.members[e][: engine["batch"]]]
        place.update(r for queue in queues for r in queue)
        place.update(r for r, _ in batch)
        kv[e] += sum(_length(state, r) + 1 for r in queues[k.PROMPTS] if requests["reserved"][r])
        kv[e] += sum(_length(state, r) for kind in (k.LINKS, k.JOINS) for r in queues[kind])
        context = sum(
            int(requests["isl"][r] + requests["osl"][r]) - (end - int(engine["steps"])) for r, end in batch
        )
        kv[e] += context
        assert engine["context"] == context
        assert engine["batch"] <= params.max_batch
        assert kv_at(state, params, e, now_s) <= params.kv_tokens
        for kind in (k.PROMPTS, k.DEFERRED):
            left = sum(_length(state, r) - int(requests["prefilled"][r]) for r in queues[kind])
            assert state.queues[e, kind]["tokens"] == left
            assert state.queues[e, kind]["work_s"] >= -1e-9
        _in_order(state, params, queues, now_s)
    away = np.flatnonzero((requests["state"] == k.HANDED_OVER) & (requests["source"] != k.NONE))
    for r in away:
        kv[requests["source"][r]] += requests["isl"][r] + 1
    np.testing.assert_array_equal(state.engines["kv"], kv)
    exports = np.bincount(requests["source"][away], minlength=len(kv))
    np.testing.assert_array_equal(state.engines["exports"], exports)
    come = requests[: state.cursors[k.NEXT_ARRIVAL]]["state"]
    in_system = np.flatnonzero((come != k.FINISHED) & (come != k.FAILED))
    assert sorted(place) == list(in_system)
    assert set(place.values()) <= {1}
    assert state.cursors[k.OUTSTANDING] == len(in_system)


def _in_order(state: k.State, params: k.Params, queues: list[list[int]], now_s: float) -> None:
    """Nobody yields longer than allowed to those that came after it; who is deferred has not begun."""
    requests = state.requests
    arrival_s = requests["arrival_s"]
    for r in queues[k.DEFERRED]:
        assert requests["deferred"][r]
        assert not requests["reserved"][r]
        assert all(arrival_s[other] <= arrival_s[r] + params.deferral_s for other in queues[k.PROMPTS])


def _queue(state: k.State, e: int, kind: int) -> list[int]:
    queue, found = state.queues[e, kind], []
    r = int(queue["head"])
    while r != k.NONE:
        found.append(r)
        r = int(state.requests["next"][r])
    assert len(found) == queue["count"]
    assert queue["tail"] == (found[-1] if found else k.NONE)
    return found


def _length(state: k.State, r: int) -> int:
    return int(state.requests["isl"][r] + state.requests["generated"][r])
