"""The two steps of a request, each with its time limits and its retries: prefill on P, then decode on D."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.router.call import strip_internal
from pdoperator.router.exchange import REQUEST_ID, Exchange
from pdoperator.router.fleet import Fleet
from pdoperator.router.metrics import Aggregated, Metrics, Outcome, Path, Step
from pdoperator.router.sse import EventStream
from pdoperator.router.upstream import EngineFailed, Engines, whole_answer, within
from pdoperator.scheduling.engines import Engine
from pdoperator.scheduling.load import Claim
from pdoperator.scheduling.predict import TOKENS
from pdoperator.scheduling.prefixes import Prompt

log = logging.getLogger(__name__)

PREFILL_ATTEMPTS = 2
# With the KV handed over; without it, on the same engine if there is no other, for the transfer may have been at
# fault; then on whatever is left.
DECODE_ATTEMPTS = 3


class NoEngine(Exception):
    """No engine is usable."""


@dataclass(frozen=True, slots=True)
class Handoff:
    """A finished prefill: where the KV lies, and since when."""

    params: dict[str, Any]
    engine: Engine
    at_s: float


class Steps:
    """Serves exchanges on the fleet's engines."""

    def __init__(self, fleet: Fleet, metrics: Metrics, engines: Engines) -> None:
        self._fleet = fleet
        self._metrics = metrics
        self._engines = engines
        self._loop = asyncio.get_running_loop()

    async def prefill(self, x: Exchange) -> Handoff | None:
        """The first step; None when the request is to be served by one engine. Raises Rejected."""
        fleet, scheduler = self._fleet, self._fleet.scheduler
        if not fleet.table.usable:
            raise NoEngine
        if not x.call.transferable:
            self._metrics.aggregated[Aggregated.NOT_TRANSFERABLE].inc()
            return None
        revision: str | None = None
        tried: set[str] = set()
        while len(tried) < PREFILL_ATTEMPTS:
            prompt = self._prompt(x)
            engine = scheduler.prefill(fleet.table, self._loop.time(), x.config, prompt, revision, tried)
            if engine is None:
                break
            if tried:
                self._metrics.retries[Step.PREFILL].inc()
            elif scheduler.prefills_locally(fleet.table, self._loop.time(), x.config, engine, prompt):
                self._metrics.aggregated[Aggregated.PREFILL_LATE].inc()
                return None
            if self._defers(x, engine, prompt):
                now_s, revision = self._loop.time(), engine.revision
                engine = (
                    scheduler.prefill(fleet.table, now_s, x.config, prompt, revision, tried, True) or engine
                )
            try:
                return await self._prefill_on(engine, x, prompt)
            except EngineFailed as error:
                self._failed(Step.PREFILL, engine, x, error)
                tried.add(engine.name)
                revision = engine.revision
        self._metrics.aggregated[self._why_not(bool(tried))].inc()
        return None

    async def decode(self, x: Exchange, handoff: Handoff | None) -> web.StreamResponse:
        """The second step, or both on one engine without a handoff. Raises Rejected, EngineFailed, NoEngine; once
        `x.response` is set, part of the answer has been sent."""
        failure: EngineFailed | None = None
        tried: set[str] = set()
        doubted: set[str] = set()
        for _ in range(DECODE_ATTEMPTS):
            engine = self._pair(x, handoff) if handoff else None
            prompt = None
            if engine is None:
                handoff, prompt = None, self._prompt(x)
                engine = self._alone(x, prompt, tried, doubted)
            if engine is None:
                break
            if failure:
                self._metrics.retries[Step.DECODE].inc()
            x.path = Path.DISAGGREGATED if handoff else Path.AGGREGATED
            try:
                answer = await self._decode_on(engine, x, handoff, prompt)
                self._fleet.scheduler.load.served(engine.name)
                return answer
            except EngineFailed as error:
                failure = error
                self._failed(Step.DECODE, engine, x, error, blamed=handoff is None)
                if x.response is not None:
                    break
                (tried if handoff is None or error.unreachable else doubted).add(engine.name)
                if handoff is not None:  # the KV may have been pulled already, and is freed then
                    handoff = None
                    self.kv_taken(x)
                    self._metrics.aggregated[Aggregated.DECODE_FAILED].inc()
        raise failure or NoEngine

    def kv_taken(self, x: Exchange) -> None:
        """The KV that a prefill engine keeps for `x` has been taken, or nobody will come for it any more."""
        if x.exporter is not None:
            self._fleet.scheduler.load.taken(x.exporter)
            x.exporter = None

    def _alone(self, x: Exchange, prompt: Prompt, tried: set[str], doubted: set[str]) -> Engine | None:
        """An engine for both steps."""
        scheduler, table, now_s = self._fleet.scheduler, self._fleet.table, self._loop.time()
        engine = scheduler.aggregated(table, now_s, x.config, prompt, tried, doubted)
        if engine is not None and self._defers(x, engine, prompt, aggregated=True):
            return scheduler.aggregated(table, now_s, x.config, prompt, tried, doubted, deferred=True)
        return engine

    def _prompt(self, x: Exchange) -> Prompt:
        return self._fleet.scheduler.prefixes.prompt(x.chain, x.tokens)

    def _claim(self, engine: Engine, x: Exchange, role: Role, prompt: Prompt | None) -> Claim:
        """Count the request as handed to `engine`, whose prefix cache has its prompt from then on. It computes what of
        `prompt` is not there yet; nothing where that is None, for it gets the KV."""
        scheduler, cached, crowded_out = self._fleet.scheduler, 0, False
        if prompt is not None:
            cached = prompt.cached_on(engine.name)
            crowded_out = x.deferred and not scheduler.too_long(x.config, engine, prompt)
            self._metrics.prefix_queries.inc(prompt.tokens)
            self._metrics.prefix_hits.inc(cached)
        scheduler.prefixes.sent(engine.name, x.chain, x.tokens, (x.config.costs or TOKENS).kv_tokens)
        return scheduler.load.acquire(
            engine.name, role, x.tokens, prompt is None, x.yields_until_s, cached, crowded_out
        )

    def _defers(self, x: Exchange, engine: Engine, prompt: Prompt, aggregated: bool = False) -> bool:
        """Decide whether the prompt lets others go first; only when it comes, for who is tried again has waited."""
        x.deferred = not x.placed and self._fleet.scheduler.defers(x.config, engine, prompt, aggregated)
        x.placed = True
        if x.deferred:
            self._metrics.deferred.inc()
        return x.deferred

    async def _prefill_on(self, engine: Engine, x: Exchange, prompt: Prompt) -> Handoff:
        headers = {**x.headers, REQUEST_ID: f"{x.request_id}-prefill"}
        load = self._fleet.scheduler.load
        body = x.call.prefill_body(x.priority)
        claim = self._claim(engine, x, Role.PREFILL, prompt)
        try:
            self._metrics.queue[Role.PREFILL].observe(self._loop.time() - x.arrival_s)
            async with (
                within(x.prefill_limit_s, engine, "prefill"),
                self._engines.post(engine, x.call.path, body, headers) as response,
            ):
                raw = await response.read()
        finally:
            claim.release()
        answer = whole_answer(raw, engine)
        params = answer.get("kv_transfer_params")
        if not isinstance(params, dict) or not params.get("do_remote_prefill"):
            raise EngineFailed(f"{engine.name} prefilled but offers no KV; is its KV connector configured?")
        usage = answer.get("usage")
        x.note_usage({"prompt_tokens": usage.get("prompt_tokens")} if isinstance(usage, dict) else None)
        load.served(engine.name)
        load.export(engine.name)
        x.exporter = engine.name
        return Handoff(params, engine, self._loop.time())

    def _pair(self, x: Exchange, handoff: Handoff) -> Engine | None:
        """A decode engine that may still pull the KV. A pull after the lease gives wrong tokens with status 200."""
        now_s = self._loop.time()
        if now_s - handoff.at_s > defaults.LEASE_SHARE * x.config.kv_lease_s:
            self._metrics.aggregated[Aggregated.LEASE_EXPIRED].inc()
            return None
        peer = handoff.engine
        engine = self._fleet.scheduler.decode(self._fleet.table, now_s, x.config, peer.revision, {peer.name})
        if engine is None:
            self._metrics.aggregated[Aggregated.NO_DECODE_ENGINE].inc()
        return engine

    async def _decode_on(
        self, engine: Engine, x: Exchange, handoff: Handoff | None, prompt: Prompt | None
    ) -> web.StreamResponse:
        headers = {**x.headers, REQUEST_ID: x.request_id}
        body = x.call.decode_body(handoff.params if handoff else None, x.priority)
        claim = self._claim(engine, x, Role.DECODE, prompt)
        try:
            self._metrics.queue[Role.DECODE].observe(self._loop.time() - x.arrival_s)
            if x.call.stream:
                return await self._stream(engine, x, body, headers, claim)
            return await self._whole(engine, x, body, headers)
        finally:
            claim.release()

    async def _whole(
        self, engine: Engine, x: Exchange, body: bytes, headers: dict[str, str]
    ) -> web.StreamResponse:
        async with self._engines.post(engine, x.call.path, body, headers) as response:
            raw = await response.read()
        answer = whole_answer(raw, engine)
        x.note_usage(answer.get("usage"))
        if strip_internal(answer):
            raw = orjson.dumps(answer)
        return web.Response(body=raw, content_type="application/json", headers={REQUEST_ID: x.request_id})

    async def _stream(
        self, engine: Engine, x: Exchange, body: bytes, headers: dict[str, str], claim: Claim
    ) -> web.StreamResponse:
        stream = EventStream(x.call.wants_usage)
        try:
            await self._pump(engine, x, body, headers, stream, claim)
        finally:
            x.note_usage(stream.usage)
            if x.response is not None and stream.usage is None:
                x.output_tokens = stream.events
        if not stream.done:
            raise EngineFailed(f"{engine.name} ended its stream early")
        if stream.error:
            x.outcome = Outcome.CLIENT_ERROR if _is_clients(stream.error) else Outcome.ERROR
        elif stream.aborted:
            x.outcome = Outcome.ERROR
        return await x.end()

    async def _pump(
        self,
        engine: Engine,
        x: Exchange,
        body: bytes,
        headers: dict[str, str],
        stream: EventStream,
        claim: Claim,
    ) -> None:
        """Pass the engine's events on. What comes before the first with output is held back: until then another
        engine can be asked."""
        held = b""
        seen = 0
        async with (
            within(x.prefill_limit_s, engine, "first token") as limit,
            self._engines.post(engine, x.call.path, body, headers) as response,
        ):
            async for chunk in response.content.iter_any():
                out = stream.feed(chunk)
                if stream.events != seen:
                    claim.generated(stream.events - seen)
                    x.grow(stream.events, self._metrics)
                    seen = stream.events
                    x.last_s = self._loop.time()
                if x.response is None:
                    held += out
                    if not stream.opened:
                        continue
                    _check_opening(stream, engine)
                    limit.reschedule(None)
                    x.first_s = x.last_s
                    self.kv_taken(x)
                    await x.begin()
                    out = held
                if out:
                    await x.write(out)

    def _why_not(self, tried: bool) -> Aggregated:
        table = self._fleet.table
        if tried or table.complete:  # those that are left alone for a while after a failure
            return Aggregated.PREFILL_FAILED
        return Aggregated.NO_DECODE_ENGINE if table.has_prefill else Aggregated.NO_PREFILL_ENGINE

    def _failed(
        self, step: Step, engine: Engine, x: Exchange, error: EngineFailed, blamed: bool = True
    ) -> None:
        """Where the KV of another engine was to be fetched either may be at fault: then none is `blamed`."""
        log.warning("request %s: %s: %s", x.request_id, step, error)
        if blamed or error.unreachable:
            self._fleet.scheduler.load.failed(engine.name, self._loop.time(), error.unreachable)
        if error.unreachable:
            self._fleet.scheduler.prefixes.forget(engine.name)


def _check_opening(stream: EventStream, engine: Engine) -> None:
    """Raises EngineFailed for a stream whose first word is that there will be none."""
    if stream.aborted and stream.events == 0:
        raise EngineFailed(
            f"{engine.name} aborted the request (it drains)", HTTPStatus.SERVICE_UNAVAILABLE, unreachable=True
        )
    if stream.error and not _is_clients(stream.error):
        raise EngineFailed(f"{engine.name}: {str(stream.error.get('message'))[:300]}")


def _is_clients(error: dict[str, Any]) -> bool:
    code = error.get("code")
    return isinstance(code, int) and 400 <= code < 500
