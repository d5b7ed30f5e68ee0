"""The closed list of reasons: status, Events, metrics and logs use these and no others."""

from __future__ import annotations

from enum import StrEnum


class Condition(StrEnum):
    """Types of status conditions."""

    READY = "Ready"
    PREFILL_READY = "PrefillReady"
    DECODE_READY = "DecodeReady"
    ROUTER_READY = "RouterReady"
    ABLE_TO_SCALE = "AbleToScale"
    SCALING_ACTIVE = "ScalingActive"
    SCALING_LIMITED = "ScalingLimited"
    METRICS_FRESH = "MetricsFresh"
    FORECAST_TRUSTED = "ForecastTrusted"
    PAUSED = "Paused"
    CONFLICT = "Conflict"


class Bottleneck(StrEnum):
    """The side that limits the service now."""

    NONE = "None"
    PREFILL = "Prefill"
    DECODE = "Decode"
    KV_TRANSFER = "KVTransfer"
    ROUTER = "Router"


class SignalUse(StrEnum):
    """What decisions do with a signal: the stated policy where it is old or missing. Unknown is never zero."""

    AS_READ = "AsRead"
    LAST_GOOD = "LastGood"
    HOLD = "Hold"  # sizes stay as they are
    PROFILE = "Profile"  # the profile's own figure stands
    DEFAULT = "Default"  # the default in api/defaults.py stands
    COLD_CACHE = "ColdCache"  # as if no prompt were cached: asks for more prefill, never for less
    LEFT_OUT = "LeftOut"  # what could not be read takes no part, the rest does


class Reason(StrEnum):
    """Why something is as it is, or was done."""

    # the service
    ALL_SERVING = "AllServing"
    STARTING = "Starting"
    NO_PREFILL_ENGINE = "NoPrefillEngine"
    NO_ENGINE = "NoEngine"
    ENOUGH_ENGINES = "EnoughEngines"
    ENGINE_FAILED = "EngineFailed"
    UNSCHEDULABLE = "Unschedulable"
    ROUTER_SERVING = "RouterServing"
    ROUTER_MISSING = "RouterMissing"
    ROUTER_FAILED = "RouterFailed"
    INVALID_SPEC = "InvalidSpec"
    CANNOT_PAIR = "CannotPair"
    APPLY_FAILED = "ApplyFailed"
    # decisions
    FORECAST = "Forecast"
    LAST_VALUE = "LastValue"
    IDLE = "Idle"
    STATIC = "Static"
    EXTERNAL = "External"
    HOLD_METRICS_MISSING = "HoldMetricsMissing"
    STABILIZED = "Stabilized"
    CALENDAR = "Calendar"
    METRICS = "Metrics"
    EMERGENCY = "Emergency"
    PAUSED = "Paused"
    # limits
    WITHIN_LIMITS = "WithinLimits"
    TOO_FEW_REPLICAS = "TooFewReplicas"
    TOO_MANY_REPLICAS = "TooManyReplicas"
    GPU_BUDGET = "GPUBudget"
    RATIO_BOUND = "RatioBound"
    SCALE_UP_LIMIT = "ScaleUpLimit"
    SCALE_DOWN_LIMIT = "ScaleDownLimit"
    # scaling
    READY_FOR_NEW_SCALE = "ReadyForNewScale"
    SCALING_DISABLED = "ScalingDisabled"
    DRY_RUN = "DryRun"
    VALID_METRICS = "ValidMetrics"
    FAILED_GET_METRICS = "FailedGetMetrics"
    TOO_FEW_METRICS = "TooFewMetrics"
    # forecast
    FORECAST_SKILFUL = "ForecastSkilful"
    FORECAST_LOSES = "ForecastLoses"
    FORECAST_UNTESTED = "ForecastUntested"
    # somebody else, and what is not to be had
    NO_CONFLICT = "NoConflict"
    CONFLICT = "Conflict"
    NOT_PAUSED = "NotPaused"
    GPUS_UNAVAILABLE = "GPUsUnavailable"
    # Events
    SUCCESSFUL_RESCALE = "SuccessfulRescale"
    FAILED_RESCALE = "FailedRescale"
    MODE_CHANGED = "ModeChanged"
    ROLE_FLIPPED = "RoleFlipped"
    FLIP_TIMEOUT = "FlipTimeout"
    ENGINE_GIVEN_UP = "EngineGivenUp"
    ENGINE_DRAINED = "EngineDrained"
    DRAIN_TIMEOUT = "DrainTimeout"
    LATE_TRANSFERS = "LateTransfers"
