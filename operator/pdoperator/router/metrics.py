"""What the router tells about itself. `signals` reads these names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Histogram, Summary
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.router.fleet import Fleet
from pdoperator.router.generated import AnswerTokens

TOKENS = tuple(map(float, defaults.LENGTH_BOUNDS_TOKENS))
SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.2,
    0.35,
    0.5,
    0.75,
    1,
    1.5,
    2,
    3,
    5,
    7.5,
    10,
    20,
    40,
    80,
    160,
)
TPOT_SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.015,
    0.02,
    0.03,
    0.04,
    0.05,
    0.065,
    0.08,
    0.1,
    0.15,
    0.2,
    0.35,
    0.5,
    1,
    2.5,
)


class Path(StrEnum):
    """How a request was served; NONE when it never reached an engine."""

    DISAGGREGATED = "disaggregated"
    AGGREGATED = "aggregated"
    NONE = "none"


class Outcome(StrEnum):
    """How a request ended."""

    OK = "ok"
    CLIENT_ERROR = "client_error"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    NO_ENGINE = "no_engine"


class Source(StrEnum):
    """How the input tokens of a request were known when it was admitted."""

    EXACT = "exact"
    ESTIMATED = "estimated"


class Aggregated(StrEnum):
    """Why a request was not disaggregated."""

    NO_PREFILL_ENGINE = "no_prefill_engine"
    NO_DECODE_ENGINE = "no_decode_engine"
    PREFILL_FAILED = "prefill_failed"
    DECODE_FAILED = "decode_failed"
    LEASE_EXPIRED = "lease_expired"
    NOT_TRANSFERABLE = "not_transferable"
    PREFILL_LATE = "prefill_late"


class Step(StrEnum):
    """The steps of a request that can be tried again."""

    PREFILL = "prefill"
    DECODE = "decode"


class Metrics:
    """All series of one router, in a registry of their own. Label values are resolved once, not per request."""

    def __init__(self, fleet: Fleet) -> None:
        self.registry = registry = CollectorRegistry()
        registry.register(FleetCollector(fleet))
        self.admitted = Counter("pdrouter_requests_admitted", "Client requests accepted", registry=registry)
        sized = Counter(
            "pdrouter_admitted_sized",
            "Admitted requests whose input tokens were known then: exact (token ids) or estimated (text)",
            ["source"],
            registry=registry,
        )
        self.sized = {source: sized.labels(source) for source in Source}
        self.admitted_tokens = Counter(
            "pdrouter_admitted_input_tokens", "Input tokens of those requests", registry=registry
        )
        self.admitted_squares = Counter(
            "pdrouter_admitted_input_tokens_squared",
            "Sum of the squares of the same: with it comes their spread",
            registry=registry,
        )
        finished = Counter(
            "pdrouter_requests",
            "Requests finished, by path and outcome",
            ["path", "outcome"],
            registry=registry,
        )
        self.finished = {
            (path, outcome): finished.labels(path, outcome) for path in Path for outcome in Outcome
        }
        self.input_tokens = Histogram(
            "pdrouter_request_input_tokens", "Prompt tokens of a request", buckets=TOKENS, registry=registry
        )
        self.output_tokens = Histogram(
            "pdrouter_request_output_tokens",
            "Tokens generated for a request",
            buckets=TOKENS,
            registry=registry,
        )
        self.output_squares = Counter(
            "pdrouter_output_tokens_squared",
            "Sum of the squares of tokens generated for a request",
            registry=registry,
        )
        self.answer_tokens = AnswerTokens(registry)
        self.token_product = Summary(
            "pdrouter_request_token_product",
            "Prompt tokens of a request times tokens generated for it: with it comes what both have in common",
            registry=registry,
        )
        self.ttft = Histogram(
            "pdrouter_ttft_seconds",
            "Arrival to first token sent to the client (streaming requests)",
            buckets=SECONDS,
            registry=registry,
        )
        self.tpot = Histogram(
            "pdrouter_tpot_seconds",
            "Seconds per token after the first (streaming requests); 0 for a single token",
            buckets=TPOT_SECONDS,
            registry=registry,
        )
        self.within_slo = Counter(
            "pdrouter_requests_within_slo",
            "Requests that met both the TTFT and the TPOT target",
            registry=registry,
        )
        self.judged = Counter(
            "pdrouter_requests_judged",
            "Requests that count for the targets: all but faulty ones and those a client gave up within its targets",
            registry=registry,
        )
        queue = Histogram(
            "pdrouter_queue_seconds",
            "Arrival to hand-over to an engine of that role",
            ["role"],
            buckets=SECONDS,
            registry=registry,
        )
        self.queue = {role: queue.labels(role) for role in (Role.PREFILL, Role.DECODE)}
        aggregated = Counter(
            "pdrouter_aggregated", "Requests served by one engine, by reason", ["reason"], registry=registry
        )
        self.aggregated = {reason: aggregated.labels(reason) for reason in Aggregated}
        self.stripped = Counter(
            "pdrouter_kv_transfer_params_stripped",
            "Requests in which the client sent fields that only engines may send",
            registry=registry,
        )
        self.prefix_queries = Counter(
            "pdrouter_prefix_cache_queries",
            "Tokens of prompts given to an engine to compute, as far as they are known then",
            registry=registry,
        )
        self.prefix_hits = Counter(
            "pdrouter_prefix_cache_hits",
            "Those of them that the engine is predicted to have in its prefix cache",
            registry=registry,
        )
        self.deferred = Counter(
            "pdrouter_requests_deferred",
            "Requests predicted to miss the TTFT target, whose prompts let others go first for a while",
            registry=registry,
        )
        retries = Counter(
            "pdrouter_retries", "Steps tried again on another engine", ["step"], registry=registry
        )
        self.retries = {step: retries.labels(step) for step in Step}


class FleetCollector(Collector):
    """The routing table and the outstanding requests, read when scraped: the request path pays nothing."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def describe(self) -> list[Metric]:
        """Nothing to check against: every series is made at scrape time."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The series as of now."""
        fleet, load = self._fleet, self._fleet.scheduler.load
        outstanding = GaugeMetricFamily(
            "pdrouter_outstanding_requests", "Requests the router has on an engine", labels=["engine", "role"]
        )
        info = GaugeMetricFamily(
            "pdrouter_engine_info", "The routing table", labels=["engine", "role", "state", "revision"]
        )
        exports = GaugeMetricFamily(
            "pdrouter_kv_exports",
            "Finished prefills whose KV no decode engine has taken yet",
            labels=["engine"],
        )
        for engine in fleet.table.engines:
            info.add_metric([engine.name, engine.role, engine.state or "", engine.revision], 1)
        for name in {*(engine.name for engine in fleet.table.engines), *load.engines()}:
            exports.add_metric([name], load.account(name).exports)
            for role, count in load.outstanding(name).items():
                outstanding.add_metric([name, role], count)
        yield outstanding
        yield exports
        yield info
        yield GaugeMetricFamily(
            "pdrouter_membership_synced", "1 while the API server can be followed", value=float(fleet.synced)
        )
        if fleet.contact_s is not None:
            age_s = asyncio.get_running_loop().time() - fleet.contact_s
            yield GaugeMetricFamily(
                "pdrouter_membership_age_seconds", "Since the API server was last heard", value=age_s
            )
