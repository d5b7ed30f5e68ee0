"""Queues of requests, the batch of an engine, and the clock of events: the data structures of the compiled loop."""

from __future__ import annotations

from pdoperator.sim.kernel.jit import jit
from pdoperator.sim.kernel.state import NONE, Params, Records, State


@jit
def append(state: State, kind: int, e: int, r: int) -> None:
    """Put request `r` at the end of a queue of engine `e`."""
    queue = state.queues[e, kind]
    state.requests[r].next = NONE
    if queue.head == NONE:
        queue.head = r
    else:
        state.requests[queue.tail].next = r
    queue.tail = r
    queue.count += 1


@jit
def push_front(state: State, kind: int, e: int, r: int) -> None:
    """Put request `r` before all others of a queue."""
    queue = state.queues[e, kind]
    state.requests[r].next = queue.head
    if queue.head == NONE:
        queue.tail = r
    queue.head = r
    queue.count += 1


@jit
def insert(state: State, params: Params, kind: int, e: int, r: int) -> None:
    """Put request `r` into a queue that is ordered by priority, behind those of the same."""
    queue = state.queues[e, kind]
    place_s = priority_s(state, params, r)
    if queue.head == NONE or priority_s(state, params, queue.tail) <= place_s:
        append(state, kind, e, r)
        return
    if priority_s(state, params, queue.head) > place_s:
        push_front(state, kind, e, r)
        return
    before = queue.head
    while priority_s(state, params, state.requests[before].next) <= place_s:
        before = state.requests[before].next
    state.requests[r].next = state.requests[before].next
    state.requests[before].next = r
    queue.count += 1


@jit
def priority_s(state: State, params: Params, r: int) -> float:
    """As the router sets it, lower first: when it arrived, a deferred one by so much later."""
    return state.requests[r].arrival_s + (params.deferral_s if state.requests[r].deferred else 0.0)


@jit
def pop(state: State, kind: int, e: int) -> int:
    """Take the first request of a queue that is not empty."""
    queue = state.queues[e, kind]
    r = queue.head
    queue.head = state.requests[r].next
    if queue.head == NONE:
        queue.tail = NONE
    state.requests[r].next = NONE
    queue.count -= 1
    return r


@jit
def batch_push(state: State, e: int, r: int, end: int) -> None:
    """Add a request that ends in decode step `end` to the batch."""
    members = state.members[e]
    i = state.engines[e].batch
    state.engines[e].batch += 1
    _sift_up(members, i, end, r)


@jit
def batch_remove(state: State, e: int, i: int) -> int:
    """Take the request at place `i` of the heap out of the batch; the one at place 0 ends first."""
    members = state.members[e]
    taken = members[i].request
    state.engines[e].batch -= 1
    n = state.engines[e].batch
    if i == n:
        return taken
    end, r = members[n].end, members[n].request
    if i > 0 and members[(i - 1) >> 1].end > end:
        _sift_up(members, i, end, r)
        return taken
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and members[child + 1].end < members[child].end:
            child += 1
        if members[child].end >= end:
            break
        members[i].end, members[i].request = members[child].end, members[child].request
        i = child
    members[i].end, members[i].request = end, r
    return taken


@jit
def _sift_up(members: Records, i: int, end: int, r: int) -> None:
    while i > 0:
        parent = (i - 1) >> 1
        if members[parent].end <= end:
            break
        members[i].end, members[i].request = members[parent].end, members[parent].request
        i = parent
    members[i].end, members[i].request = end, r


@jit
def schedule(events: Records, slot: int, at_s: float) -> None:
    """The next event of `slot` is at `at_s`; infinity: there is none."""
    events[slot].at_s = at_s
    i, n = events[slot].place, len(events)
    while i > 0:
        parent = (i - 1) >> 1
        above = events[parent].heap
        if events[above].at_s <= at_s:
            break
        events[i].heap = above
        events[above].place = i
        i = parent
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and events[events[child + 1].heap].at_s < events[events[child].heap].at_s:
            child += 1
        below = events[child].heap
        if events[below].at_s >= at_s:
            break
        events[i].heap = below
        events[below].place = i
        i = child
    events[i].heap = slot
    events[slot].place = i
