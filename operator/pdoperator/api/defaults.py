"""Every default, once, with the reason for its value."""

from __future__ import annotations

# --- the objects -------------------------------------------------------------------------------------------
# The vLLM release whose NIXL behaviour this project was measured with.
ENGINE_IMAGE = "vllm/vllm-openai:v0.32.0"
ROUTER_REPLICAS = 1
MIN_REPLICAS = 1  # a role without an engine serves aggregated only
MAX_REPLICAS = 4
TENSOR_PARALLEL_SIZE = 1
GPU_RESOURCE = "nvidia.com/gpu"

# --- transport ---------------------------------------------------------------------------------------------
KV_LEASE_S = 30  # vLLM's own default for kv_lease_duration
ENGINE_SHUTDOWN_TIMEOUT_S = 60  # vLLM drains in-flight requests this long after SIGTERM
# Routers learn of a deletion by watch within this time, before the engine stops admitting.
PRESTOP_S = 5
# vLLM needs up to 15 s after its drain to tear its workers down (measured 10 to 14 s).
TERMINATION_GRACE_S = PRESTOP_S + ENGINE_SHUTDOWN_TIMEOUT_S + 20
# A large model may load for tens of minutes; after that the kubelet restarts it.
ENGINE_START_LIMIT_S = 1800

# --- service level -----------------------------------------------------------------------------------------
TTFT_TARGET = "2s"  # DOPD's service level: TTFT < 2 s, TPOT < 80 ms
TPOT_TARGET = "80ms"
PERCENTILE = 90

# --- autoscaling -------------------------------------------------------------------------------------------
INTERVAL_S = 15.0  # HPA's sync period
# Of strategy Adaptive: its split looks 15 s ahead, and a turn of the load should be serving 10 s after it has begun.
ADAPTIVE_INTERVAL_S = 5.0
FORECAST_WINDOW = 50  # samples; DOPD's planner (SLAPlannerDefaults)
FORECAST_QUANTILE = 0.9  # an engine too few costs misses, one too many only GPU time
LENGTHS_OVER_S = 300.0  # lengths change slowly, and few requests tell little of them
FORECAST_MIN_SAMPLES = 5  # with fewer DOPD takes the last value
SCALE_UP_WINDOW_S = 0  # HPA v2
SCALE_DOWN_WINDOW_S = 300  # HPA v2
SPREAD_HALF_LIFE_S = 600.0  # spreads of lengths need many requests; they change slowly
SPREAD_MIN_REQUESTS = 20.0  # with fewer the default spread is the better guess
LENGTH_BOUNDS_TOKENS = tuple(
    2**n for n in range(18)
)  # of classes of lengths; the longest contexts are of 2^17
STARTUPS_KEPT = 50  # newest start-ups that p50 and p90 are taken of
SCALE_PERIOD_S = 15  # HPA v2, as are the rates: doubled or 4 more, whichever is more; all may go
SCALE_UP_PERCENT = 100
SCALE_UP_PODS = 4
SCALE_DOWN_PERCENT = 100
TOLERANCE = 0.1  # HPA v2
BEFORE_EVENT_S = 300.0  # the load before an event of the calendar is the mean over this long
IDLE_AFTER_S = 50.0  # DOPD goes back to its minimum after this long without a request
SIGNAL_FRESH_S = 15.0  # as old as a scrape of Prometheus usually is
# Of the engines of a role, how many may lack a fresh reading before the role counts as not read.
MISSING_READINGS_SHARE = 0.5
# Targets per engine of strategy Reactive, those of llm-d's HPA on a GH200.
WAITING_TARGET = 5.0
RUNNING_TARGET = 10.0
KV_USE_TARGET = 0.8
# At a fifth of its load a queue adds a quarter to a prompt's own time; emptier engines gain next to nothing.
LEAST_PREFILL_LOAD = 0.2
DRY_RUN_GAP_S = 600.0  # after a longer pause nobody can say what decisions would have done meanwhile
# Readings that speak of overload: those at which DOPD's baseline DYN-LOAD adds an engine.
QUEUE_LONG = 5.0  # requests that wait per engine
KV_FULL = 0.9  # share of the KV cache in use
TRANSFERS_FAILED_SHARE = 0.05  # more speaks of the link or a sick engine, not of chance
METRICS_MAX_AGE_S = 60.0  # older readings do not justify a change
# An engine's start until it has been measured: pulls, loads and compiles take 2 to 8 minutes (llm-d-autoscaling#1071).
STARTUP_S = 300.0
# An observed/profiled TPOT beyond these bounds speaks of a wrong profile, not of load.
CORRECTION_MIN = 0.25
CORRECTION_MAX = 4.0
# The first steps of an engine compile and shake hands (5 s a pair); what they take is not what it can do.
WARM_UP_S = 120.0
# DOPD's block size; vLLM's is 16 on GPUs and 128 on CPUs, and the larger is the safe side.
KV_BLOCK_TOKENS = 128
# vLLM's max-num-batched-tokens for its server on an H100 or H200; 16384 from 160 GiB on, 2048 below 70 GiB and on CPUs.
BATCHED_TOKENS = 8192
MAX_BATCH = 256  # vLLM's --max-num-seqs on most machines

# --- sizing ------------------------------------------------------------------------------------------------
TTFT_OVERHEAD_S = 0.1  # client I/O and KV transfer, as the M/M/1 sizing paper (arXiv 2603.04716) measured it
# Spread of prompt lengths where none is given: that of both Azure traces of 2023 (Mooncake's are 1.2 and 1.3).
ISL_CV = 0.96
OSL_CV = 1.1  # of Azure's conversation trace of 2023
# Of prompts and their answers: ServeGen's m-large has 0.5, Azure's conversation -0.2, so neither sign is a safe guess.
LENGTHS_COVARIANCE = 0.0

# --- actuation ---------------------------------------------------------------------------------------------
STEP_PERIOD_S = 1.0  # how often flips and drains in progress are looked at
# An engine that is not ready by then is given up: three times what 9 of 10 took, within bounds that leave room for one
# slow pull and end where the kubelet would start it anew.
START_DEADLINE_P90S = 3.0
START_DEADLINE_MIN_S = 60.0
SCHEDULE_DEADLINE_S = 300.0  # a node autoscaler brings a node within minutes, or it has none
UNAVAILABLE_S = 600.0  # what could not be had is not asked for again so soon
# A drain that takes longer is given up and the engine deleted (vLLM drains once more).
DRAIN_TIMEOUT_S = 120.0
FLIP_TIMEOUT_S = 120.0  # a flip that no router confirms by then is reported
# No router may still hold the engine in its table when it is counted as drained.
DRAIN_QUIET_S = 2.0

# --- router ------------------------------------------------------------------------------------------------
# The whole request; a peer frozen for ever is waited for without limit by vLLM itself.
REQUEST_TIMEOUT = "600s"
CONNECT_TIMEOUT_S = 2.0  # engines are in the same cluster
# The first step; past it another prefill engine or the decode engine itself is tried.
PREFILL_TIMEOUT = "120s"
# An engine that refused a connection fails fast and would look least busy; it is left alone this long. So is one that
# is ready and yet failed so many requests in a row; one or two may be the requests' own fault.
SHUN_S = 5.0
FAILURES_IN_A_ROW = 3
# Of the KV lease; past it the decode engine recomputes, for late pulls give wrong tokens silently.
LEASE_SHARE = 0.8
# Of the TTFT target: a prompt that prefill engines are predicted to need more for may go to a decode engine. Whenever
# that is sooner is too often: TTFT breaks elsewhere, TPOT triples (in replays). So late it is a valve for bursts.
LATE_SHARE = 0.8
# How long a prompt that is predicted to miss the TTFT target lets others go first: until new engines are up. One that
# goes before them sooner makes them late too, for whom there was time; but nobody is to wait much longer than that.
DEFERRAL_S = 120.0
CHARACTERS_PER_TOKEN = 4.0  # of English text; until finished requests have told the model's own
# A block of a prompt whose hash the router remembers: some 128 tokens of text. Where less is shared nothing is gained.
PREFIX_BLOCK_BYTES = 512
PREFIX_BLOCKS = 2048  # of one prompt, more than 200,000 tokens; hashing them takes some 1 ms
# What an engine's KV cache is taken to hold where no profile tells: rather less than it does, for a prefix that is not
# there is worse to count on than one too many to compute.
UNKNOWN_KV_TOKENS = 100_000
# Idle connections to engines; uvicorn closes its end after 5 s, and a POST must not meet that.
KEEPALIVE_S = 2.0
MAX_BODY_BYTES = 64 << 20  # long prompts as token ids, or images
# After SIGTERM new requests still come for a moment, until endpoints have been updated.
ROUTER_LINGER_S = 3.0
ROUTER_DRAIN_S = 60.0  # and those in flight get this long to finish

# --- error budget ----------------------------------------------------------------------------------------
BURN_WINDOW_S = 1800.0  # longer than a start-up and its effect, shorter than the load's day
BURN_MIN_REQUESTS = 50.0  # one miss of fewer would already be a fifth of the budget at the 90th percentile
BURN_CALM = 0.5  # of the budget: half of it is for chance, the other half is left to act in
QUANTILE_MAX = 0.98  # a forecast's quantiles beyond it rest on too few of its errors

# --- mode Auto ---------------------------------------------------------------------------------------------
MODE_GAIN = 0.1  # of the engines; the capacities that are compared are no better than that
MODE_HOLD_S = (
    180.0  # for so long the other mode has to be the better one: the load's mix, not one burst of it
)

# --- I/O limits --------------------------------------------------------------------------------------------
SCRAPE_TIMEOUT_S = 2.0
PROMETHEUS_TIMEOUT_S = 5.0  # of one query; they take milliseconds, a range over weeks a second
SCRAPE_CONCURRENCY = 32  # scrapes at a time per service; a scrape takes milliseconds
SCRAPE_MAX_BYTES = 8 << 20  # vLLM exposes some 100 kB; whatever sends more is not an engine
API_TIMEOUT_S = 10.0
# Up to 200 kB a service, and etcd keeps every write for minutes: 1,000 services write 0.7 MB/s. At its end an operator
# writes all; one that is killed loses so much history.
MEMORY_PERIOD_S = 300.0
SAVE_LIMIT_S = 5.0  # at the end all histories are written; the pod's grace period is 30 s
MEMORY_MAX_BYTES = 900_000  # of all texts of a service; an object may hold 1 MiB
BACKFILL_S = (
    28 * 86400.0
)  # as many weeks as a forecast keeps, in steps of which Prometheus gives 11,000 at once
BACKFILL_STEP_S = 300.0
# Calls at a time; below the client's 100 connections, so that watches and the Lease always get theirs.
API_CONCURRENCY = 32
DECISIONS_KEPT = 20
EXPLAINED_AT_MOST = 8  # candidates and pieces of evidence of one decision; the object must stay small
STATUS_PERIOD_S = 15.0  # figures that merely drift are written this often; what people wait for, at once

# --- strategy Adaptive -------------------------------------------------------------------------------------
LEAST_SHARE = 0.05  # of an engine's time that counts as usable, however tight the target: sizes stay finite
SEQUENCE_SHARE_MAX = 0.5  # of a decode engine that one sequence counts as, however long prompts are
ANSWERS_S = 3.0  # over this long the length of answers is counted, so that a turn of the load shows at once
SHAPE_S = 60.0  # lengths are smoothed over this long: less than a regime lasts, more than one answer
FLEET_QUANTILE = 0.8  # of the peak over the lead time: most requests come at other times than its highest
FLEET_HORIZON_MIN_S = 100.0  # for a burst within it even an engine that starts in 30 s is too late
FLEET_WINDOW_S = 30.0  # its peak is an average over this long: shorter noise is in the sizes already
PEAK_WINDOW_S = 10.0  # a peak is an average over this long: queues within TTFT targets even out less
SPLIT_HORIZON_S = 15.0  # a flip and its drain are through by then
SPLIT_QUANTILE = 0.8
FLIP_DWELL_S = 15.0  # a flip's own cost is seconds; noise that is followed faster than this gains nothing
FLIP_STRAIN = 0.85  # engines needed over engines there, below which no split needs to change
FLIP_GAIN = 0.08  # and by how much a flip must relieve the worse side
BACKLOG_S = 5.0  # prompts that wait should be gone by then; TTFT targets are of this order
BACKLOG_ENGINES = 2.0  # an emergency: so many engines are called for by what waits alone
RELIEF_S = 60.0  # new engines work off what waits within this time of their start
RELIEF_MAX = 0.5  # of the load: a backlog is finite, engines for it are not to outlive it
LEARN_S = 180.0  # of history, before which nothing is given away: the load may be just beginning
