"""One request being served: what is decided, sent and measured on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import ClientConnectionError, web

from pdoperator.api.router_config import RouterConfig
from pdoperator.router.call import Call
from pdoperator.router.metrics import Metrics, Outcome, Path
from pdoperator.router.prompt import PromptSize
from pdoperator.scheduling.load import NEVER
from pdoperator.scheduling.prefixes import Chain

REQUEST_ID = "X-Request-Id"
STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


class ClientGone(Exception):
    """The client hung up; nobody is left to answer."""


@dataclass(slots=True)
class Exchange:
    """Times are the event loop's, in seconds; None is what has not happened or is not known."""

    request: web.Request
    call: Call
    config: RouterConfig
    request_id: str
    headers: dict[str, str]  # for the engines
    arrival_s: float
    admitted_ms: int  # of the Unix epoch: the one clock that routers share
    prompt: PromptSize
    chain: Chain  # it too, as prefix caches know it
    prompt_tokens: int  # as far as it can be told before an engine has seen it; see input_tokens
    placed: bool = False  # with an engine, at least once
    deferred: bool = False  # its prompt lets others go first
    exporter: str | None = None  # the engine that keeps finished KV for it
    path: Path = Path.NONE
    outcome: Outcome = Outcome.OK
    response: web.StreamResponse | None = (
        None  # once a stream has begun: from then on nothing can be tried again
    )
    first_s: float | None = None
    last_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    generated: int = 0  # of a stream, so far

    async def begin(self) -> None:
        """Send the head of a stream. Raises ClientGone."""
        self.response = web.StreamResponse(headers={**STREAM_HEADERS, REQUEST_ID: self.request_id})
        try:
            await self.response.prepare(self.request)
        except ClientConnectionError as error:
            raise ClientGone from error

    async def write(self, data: bytes) -> None:
        """Send part of a stream that has begun. Raises ClientGone, so that nobody takes it for the engine's end."""
        assert self.response is not None
        try:
            await self.response.write(data)
        except ClientConnectionError as error:
            raise ClientGone from error

    async def end(self) -> web.StreamResponse:
        """End a stream that has begun. Raises ClientGone."""
        assert self.response is not None
        try:
            await self.response.write_eof()
        except ClientConnectionError as error:
            raise ClientGone from error
        return self.response

    def note_usage(self, usage: Any) -> None:
        """Take token counts from an engine's `usage`, as far as they are there."""
        if isinstance(usage, dict):
            self.input_tokens = _count(usage.get("prompt_tokens"), self.input_tokens)
            self.output_tokens = _count(usage.get("completion_tokens"), self.output_tokens)

    def grow(self, tokens: int, metrics: Metrics) -> None:
        """The answer has `tokens` tokens by now; it never loses one."""
        metrics.answer_tokens.generated(self.generated, tokens)
        self.generated = max(self.generated, tokens)

    @property
    def tokens(self) -> int:
        """Tokens of its prompt: an engine's own count once there is one."""
        return self.prompt_tokens if self.input_tokens is None else self.input_tokens

    @property
    def yields_until_s(self) -> float:
        """Until when its prompt lets others go first."""
        return self.arrival_s + self.config.deferral_s if self.deferred else NEVER

    @property
    def prefill_limit_s(self) -> float:
        """How long an engine may take to prefill it, or to give its first token: yielding comes on top."""
        return self.config.prefill_timeout_s + (self.config.deferral_s if self.deferred else 0.0)

    @property
    def priority(self) -> int | None:
        """Its place in the order of vLLM's priority scheduling, lower first; None where no order is set.

        By arrival, a deferred one later: for prefill and for room on a decode engine alike.
        """
        if not self.config.deferral_s:
            return None
        return self.admitted_ms + (round(1e3 * self.config.deferral_s) if self.deferred else 0)

    @property
    def tpot_s(self) -> float | None:
        """Seconds per token after the first: 0 for a single one, None when the stream did not get that far."""
        if self.first_s is None or self.last_s is None or not self.output_tokens:
            return None
        return (self.last_s - self.first_s) / (self.output_tokens - 1) if self.output_tokens > 1 else 0.0

    def within_slo(self, end_s: float) -> bool:
        """Whether both targets were met. An answer in one piece meets them when it is there by the time at which its
        last token would have been due."""
        config, tpot_s = self.config, self.tpot_s
        if self.first_s is not None and tpot_s is not None:
            return self.first_s - self.arrival_s <= config.ttft_target_s and tpot_s <= config.tpot_target_s
        if self.call.stream or not self.output_tokens:
            return False
        return end_s - self.arrival_s <= config.ttft_target_s + config.tpot_target_s * (
            self.output_tokens - 1
        )

    def judged(self, end_s: float) -> bool:
        """Whether it counts for the targets: a faulty request does not, nor one given up in good time."""
        if self.outcome is Outcome.CANCELLED:
            return self.first_s is None and end_s - self.arrival_s > self.config.ttft_target_s
        return self.outcome is not Outcome.CLIENT_ERROR

    def record(self, metrics: Metrics, end_s: float) -> None:
        """Count it as finished."""
        metrics.finished[self.path, self.outcome].inc()
        if self.judged(end_s):
            metrics.judged.inc()
        if self.input_tokens is not None:
            metrics.input_tokens.observe(self.input_tokens)
        if self.first_s is not None:
            metrics.ttft.observe(self.first_s - self.arrival_s)
        if self.outcome is not Outcome.OK:
            return
        if self.output_tokens is not None:
            metrics.output_tokens.observe(self.output_tokens)
            metrics.output_squares.inc(self.output_tokens**2)
            self.grow(self.output_tokens, metrics)
            metrics.answer_tokens.ended(self.output_tokens)
            if self.input_tokens is not None:
                metrics.token_product.observe(self.input_tokens * self.output_tokens)
        if (tpot_s := self.tpot_s) is not None:
            metrics.tpot.observe(tpot_s)
        if self.within_slo(end_s):
            metrics.within_slo.inc()


def _count(value: Any, otherwise: int | None) -> int | None:
    return value if isinstance(value, int) else otherwise
