"""What the compiled loop works on: arrays of records, one a request, an engine, a queue. Times in seconds.

Few arrays of records and not many arrays: compiled functions take them by value, array by array.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdoperator.api import defaults

NONE = -1

# Where a request is.
UNSEEN, PREFILLING, HANDED_OVER, DECODING, FINISHED, FAILED = range(6)
# What an engine is used for by the router.
PREFILL, DECODE = range(2)
# Whether decode engines take prompts that prefill engines could take.
LOCAL_NEVER, LOCAL_LAZY, LOCAL_EAGER = range(3)

# Counters since they were last read; see Counts.
(
    ADMITTED,
    ISL_SUM,
    ISL_SQUARES,
    CACHED_SUM,
    ENDED,
    MISSED,
    SERVED,
    OSL_SUM,
    OSL_SQUARES,
    ENDED_ISL_SUM,
    PRODUCT_SUM,
    TTFT_SUM,
    TPOT_SUM,
    TPOT_COUNT,
    PREEMPTED,
    LOCAL_PREFILLS,
    COUNTERS,
) = range(17)

# Answers by class of length, those of LENGTH_BOUNDS_TOKENS: how many ended, their tokens, and these by position.
ENDED_COUNT, ENDED_TOKENS, ENDED_POSITIONS, BY_LENGTH = range(4)
CLASSES = len(defaults.LENGTH_BOUNDS_TOKENS) + 1

# The queues of an engine: prompts to prefill and, after those, deferred ones; requests whose KV is to be fetched, KV on
# its way here, requests that join the batch at the next step.
PROMPTS, DEFERRED, ROOMS, LINKS, JOINS, QUEUES = range(6)

# Scalars of the run that change.
NEXT_ARRIVAL, OUTSTANDING, TURN, SLOTS, JOINED, CURSORS = range(6)


class Params(NamedTuple):
    """Constants of a run; what a step costs is `Profile.step_s` of the capacity room."""

    itl_a: float
    pass_s: float
    latency_s: float  # of every call of an engine, without occupying it
    ttft_b: float
    ttft_c: float
    itl_b: float
    itl_c: float
    kv_tokens: int
    max_batch: int
    batched_tokens: int  # of one step, a decoded token of the batch counted as one
    transfer_s_per_token: float
    late_s: float  # a predicted TTFT beyond which a lazy router looks for another way
    deferral_s: (
        float  # how long a prompt that will miss its target yields to others; 0: first come, first served
    )
    ttft_s: float  # targets
    tpot_s: float
    local: int


REQUEST = np.dtype(
    [
        ("arrival_s", np.float64),
        ("first_s", np.float64),  # NaN until the first token
        ("finish_s", np.float64),  # NaN until the last token; while its KV is on the way: when that arrives
        ("isl", np.int32),
        ("osl", np.int32),
        ("cached", np.int32),
        ("prefilled", np.int32),  # tokens of the prompt whose KV is there
        ("generated", np.int32),  # output tokens when it last joined a batch
        (
            "source",
            np.int32,
        ),  # the engine that prefills it, or holds its KV for another; NONE: that one is lost
        ("next", np.int32),  # the next request of the queue that it stands in
        ("joined", np.int32),  # when it last joined a batch, counted in requests that did
        ("state", np.int8),
        ("local", np.bool_),  # prefilled where it is decoded
        ("deferred", np.bool_),  # it was to yield when it was last given to an engine
        (
            "reserved",
            np.bool_,
        ),  # its KV has room where it is prefilled: for the prompt and the token after it
    ],
    align=True,
)

ENGINE = np.dtype(
    [
        ("context", np.int64),  # tokens of the batch
        ("kv", np.int64),  # tokens held or promised
        ("steps", np.int64),  # decode steps done
        ("turn", np.int64),  # when it was last picked
        ("link_out_free_s", np.float64),  # when what is on its way out, and in, will have passed
        ("link_in_free_s", np.float64),
        ("run_start_s", np.float64),  # of the step, or run of equal steps, that is under way
        ("run_steps", np.int64),  # its decode steps; 0 when nothing decodes
        ("run_prompts", np.int32),  # prompts that are complete after it
        ("run_partial", np.int32),  # tokens of the prompt after those
        ("busy_s", np.float64),  # total
        ("batch", np.int32),  # requests that decode
        ("exports", np.int32),  # finished prefills whose KV has not been fetched
        ("role", np.int8),
        ("serving", np.bool_),  # the router gives it new requests
        ("alive", np.bool_),
        ("busy", np.bool_),
    ],
    align=True,
)

QUEUE = np.dtype(
    [
        ("work_s", np.float64),  # of its prompts, what is left of them
        ("tokens", np.int64),  # of them, still to compute
        ("head", np.int32),
        ("tail", np.int32),
        ("count", np.int32),
    ],
    align=True,
)

# A request in the batch of an engine: a heap by the decode step in which it ends.
MEMBER = np.dtype([("end", np.int64), ("request", np.int32)], align=True)

# The next event of a slot (a step's end by engine, then a transfer's end by engine), and an indexed heap of the slots.
EVENT = np.dtype([("at_s", np.float64), ("heap", np.int32), ("place", np.int32)], align=True)

Records = NDArray[Any]


class State(NamedTuple):
    """All of it: `queues` is [engine, queue], `members` [engine, max_batch]; queues are linked through `next`."""

    requests: Records
    engines: Records
    queues: Records
    members: Records
    events: Records
    counts: NDArray[np.float64]
    lengths: NDArray[np.float64]  # [BY_LENGTH, CLASSES]
    cursors: NDArray[np.int64]
    joined: NDArray[np.int32]  # scratch: who has just joined a batch


def new_state(
    arrival_s: NDArray[np.float64],
    isl: NDArray[np.int32],
    osl: NDArray[np.int32],
    cached: NDArray[np.int32],
    slots: int,
    max_batch: int,
) -> State:
    """No engine is alive, no request has come."""
    requests = np.zeros(len(arrival_s), REQUEST)
    requests["arrival_s"], requests["isl"], requests["osl"] = arrival_s, isl, osl
    requests["cached"] = cached
    requests["first_s"] = requests["finish_s"] = np.nan
    requests["source"] = requests["next"] = NONE
    queues = np.zeros((slots, QUEUES), QUEUE)
    queues["head"] = queues["tail"] = NONE
    events = np.zeros(2 * slots, EVENT)
    events["at_s"] = np.inf
    events["heap"] = events["place"] = np.arange(2 * slots)
    return State(
        requests=requests,
        engines=np.zeros(slots, ENGINE),
        queues=queues,
        members=np.zeros((slots, max_batch), MEMBER),
        events=events,
        counts=np.zeros(COUNTERS),
        lengths=np.zeros((BY_LENGTH, CLASSES)),
        cursors=np.zeros(CURSORS, np.int64),
        joined=np.zeros(max_batch, np.int32),
    )
