"""vLLM's metrics, by vLLM's names and labels, in a registry of the engine's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from pdoperator.sim.engine.sequence import Sequence as EngineSequence

TTFT_S = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
    20,
    40,
    80,
    160,
    640,
    2560,
)
TOKEN_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
REQUEST_S = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
TRANSFER_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 5)
TRANSFER_BYTES = tuple(float(2 ** (11 + 2 * step)) for step in range(12))
DESCRIPTORS = (10, 20, 30, 50, 75, 100, 200, 400, 1000, 2000, 4000, 10000, 20000, 50000)
STEP_TOKENS = tuple(float(2**power) for power in (0, *range(3, 15)))


class EngineMetrics:
    """Counters are kept up as things happen; gauges are read from the engine when somebody scrapes."""

    def __init__(
        self, model_name: str, max_model_len: int, block_size: int, block_count: int, *, prefix_caching: bool
    ) -> None:
        self.registry = CollectorRegistry()
        self._families: dict[str, Counter | Gauge] = {}  # those with further labels are asked for again
        self._model = model_name
        sizes = _one_two_five(max_model_len)
        self.queue_time = self._histogram("request_queue_time_seconds", "Time in WAITING phase.", REQUEST_S)
        self.inter_token = self._histogram("inter_token_latency_seconds", "Inter-token latency.", TOKEN_S)
        self.tokens_per_step = self._histogram(
            "iteration_tokens_total", "Tokens per engine step.", STEP_TOKENS
        )
        self._ttft = self._histogram("time_to_first_token_seconds", "Time to first token.", TTFT_S)
        self._tpot = self._histogram(
            "request_time_per_output_token_seconds", "Mean time per output token.", TOKEN_S
        )
        self._e2e = self._histogram("e2e_request_latency_seconds", "End-to-end request latency.", REQUEST_S)
        self._inference = self._histogram(
            "request_inference_time_seconds", "Time in RUNNING phase.", REQUEST_S
        )
        self._prefill = self._histogram("request_prefill_time_seconds", "Time in PREFILL phase.", REQUEST_S)
        self._decode = self._histogram("request_decode_time_seconds", "Time in DECODE phase.", REQUEST_S)
        self._prompt_size = self._histogram("request_prompt_tokens", "Prompt tokens of a request.", sizes)
        self._output_size = self._histogram(
            "request_generation_tokens", "Generated tokens of a request.", sizes
        )
        self.preemptions = self._counter("num_preemptions", "Preemptions.")
        self._prompt_tokens = self._counter("prompt_tokens", "Prefill tokens processed.")
        self._generated = self._counter("generation_tokens", "Generation tokens processed.")
        self._cached = self._counter("prompt_tokens_cached", "Cached prompt tokens (local and external).")
        self._queries = self._counter("prefix_cache_queries", "Prefix cache queries, in tokens.")
        self._hits = self._counter("prefix_cache_hits", "Prefix cache hits, in tokens.")
        self._external_queries = self._counter(
            "external_prefix_cache_queries", "KV connector queries, in tokens."
        )
        self._external_hits = self._counter("external_prefix_cache_hits", "KV connector hits, in tokens.")
        self._by_source = {
            source: self._counter("prompt_tokens_by_source", "Prompt tokens by source.", source=source)
            for source in ("local_compute", "local_cache_hit", "external_kv_transfer")
        }
        self._success = {
            reason: self._counter("request_success", "Finished requests.", finished_reason=reason)
            for reason in ("stop", "length", "abort", "error")
        }
        self._rejections = Counter(
            "vllm:admission_rejections",
            "Requests refused by a queue limit.",
            ["model_name", "reason"],
            registry=self.registry,
        )
        for reason in ("max_num_queued_reqs", "max_num_queued_tokens"):
            self._rejections.labels(self._model, reason)
        self._add_nixl()
        self._add_cache_config(block_size, block_count, prefix_caching=prefix_caching)

    def _add_nixl(self) -> None:
        self.xfer_time = self._histogram("nixl_xfer_time_seconds", "Duration of KV transfers.", TRANSFER_S)
        self.xfer_bytes = self._histogram("nixl_bytes_transferred", "Bytes per KV transfer.", TRANSFER_BYTES)
        self.xfer_descriptors = self._histogram(
            "nixl_num_descriptors", "Descriptors per KV transfer.", DESCRIPTORS
        )
        self.failed_transfers = self._counter("nixl_num_failed_transfers", "Failed KV transfers.")
        self.expired = self._counter(
            "nixl_num_kv_expired_reqs", "Requests whose KV expired on the prefill engine."
        )
        self.after_expiry = self._counter(
            "nixl_num_notifications_after_expiry", "Completions for KV no longer tracked."
        )

    def _add_cache_config(self, block_size: int, block_count: int, *, prefix_caching: bool) -> None:
        labels = {
            "block_size": block_size,
            "cache_dtype": "auto",
            "enable_prefix_caching": prefix_caching,
            "kv_cache_size_tokens": block_size * block_count,
            "num_gpu_blocks": block_count,
        }
        info = Gauge(
            "vllm:cache_config_info", "The engine's KV cache.", ["engine", *labels], registry=self.registry
        )
        info.labels("0", *map(str, labels.values())).set(1)

    def watch(self, name: str, about: str, read: Callable[[], float], **labels: str) -> None:
        """A gauge ``vllm:<name>`` whose value is ``read()`` at scrape time."""
        self._gauge(name, about, labels).labels("0", self._model, *labels.values()).set_function(read)

    def _gauge(self, name: str, about: str, labels: dict[str, str]) -> Gauge:
        known = self._families.get(name)
        if not isinstance(known, Gauge):
            known = Gauge(f"vllm:{name}", about, ["engine", "model_name", *labels], registry=self.registry)
            self._families[name] = known
        return known

    def _counter(self, name: str, about: str, **labels: str) -> Counter:
        known = self._families.get(name)
        if not isinstance(known, Counter):
            known = Counter(f"vllm:{name}", about, ["engine", "model_name", *labels], registry=self.registry)
            self._families[name] = known
        return known.labels("0", self._model, *labels.values())

    def _histogram(self, name: str, about: str, buckets: Sequence[float]) -> Histogram:
        family = Histogram(
            f"vllm:{name}", about, ["engine", "model_name"], registry=self.registry, buckets=buckets
        )
        return family.labels("0", self._model)

    # what happens to a request

    def looked_up(self, prompt_tokens: int, cached_tokens: int) -> None:
        self._queries.inc(prompt_tokens)
        self._hits.inc(cached_tokens)

    def first_token(self, seq: EngineSequence, now: float) -> None:
        """The prompt is done: its tokens are counted, by where their KV came from."""
        prompt = len(seq.prompt)
        self._ttft.observe(now - seq.arrived_s)
        self._prompt_tokens.inc(prompt)
        self._by_source["local_cache_hit"].inc(seq.cached_tokens)
        self._by_source["external_kv_transfer"].inc(seq.fetched_tokens)
        self._by_source["local_compute"].inc(prompt - seq.cached_tokens - seq.fetched_tokens)
        self._cached.inc(seq.cached_tokens + seq.fetched_tokens)
        self._external_queries.inc(prompt - seq.cached_tokens)
        self._external_hits.inc(seq.fetched_tokens)

    def finished(self, seq: EngineSequence, now: float) -> None:
        self._success[seq.finish_reason or "error"].inc()
        self._generated.inc(len(seq.output))
        self._e2e.observe(now - seq.arrived_s)
        self._prompt_size.observe(len(seq.prompt))
        self._output_size.observe(len(seq.output))
        if seq.scheduled_s is None or seq.first_token_s is None:
            return
        decode_s = seq.last_token_s - seq.first_token_s
        self._inference.observe(now - seq.scheduled_s)
        self._prefill.observe(seq.first_token_s - seq.scheduled_s)
        self._decode.observe(decode_s)
        self._tpot.observe(decode_s / (len(seq.output) - 1) if len(seq.output) > 1 else 0.0)

    def rejected(self, reason: str) -> None:
        self._rejections.labels(self._model, reason).inc()

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Body and content type, negotiated as vLLM's prometheus_client does (colons in names included)."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


def _one_two_five(limit: int) -> list[float]:
    """1, 2, 5, 10, 20, ... up to ``limit``, vLLM's buckets for token counts."""
    buckets: list[float] = []
    decade = 1
    while True:
        for digit in (1, 2, 5):
            if digit * decade > limit:
                return buckets or [1.0]
            buckets.append(float(digit * decade))
        decade *= 10
