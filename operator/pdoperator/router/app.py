"""The HTTP surface: OpenAI's two generating endpoints, the model list, metrics and health."""

from __future__ import annotations

import asyncio
import time
import uuid
from http import HTTPStatus

from aiohttp import ClientSession, web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pdoperator.api import defaults
from pdoperator.api.router_config import RouterConfig
from pdoperator.router.call import parse_call
from pdoperator.router.errors import ClientFault, error_event, error_response
from pdoperator.router.exchange import REQUEST_ID, ClientGone, Exchange
from pdoperator.router.fleet import Fleet
from pdoperator.router.metrics import Metrics, Outcome, Path, Source
from pdoperator.router.prompt import PromptSize, TokenEstimate, prefix_chain, prompt_size, work_tokens
from pdoperator.router.steps import NoEngine, Steps
from pdoperator.router.upstream import EngineFailed, Engines, Rejected
from pdoperator.scheduling.prefixes import Chain

FORWARDED = ("Authorization", "traceparent", "tracestate")
REQUEST_ID_MAX = 200  # characters; engines repeat it in every event


class Router:
    """One router: its fleet, its metrics, its endpoints. Made within a running event loop."""

    def __init__(self, fleet: Fleet, session: ClientSession) -> None:
        self.fleet = fleet
        self.metrics = Metrics(fleet)
        self.draining = False
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._engines = Engines(session)
        self._steps = Steps(fleet, self.metrics, self._engines)
        self._estimate = TokenEstimate()
        self._loop = asyncio.get_running_loop()
        self._started = int(time.time())

    def app(self) -> web.Application:
        """The aiohttp application. Run it with `handler_cancellation`: a client's leaving must reach the engine."""
        app = web.Application(client_max_size=defaults.MAX_BODY_BYTES)
        app.router.add_post("/v1/completions", self.completions)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/metrics", self.show_metrics)
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/readyz", self.readyz)
        return app

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/completions."""
        return await self._generate(request, chat=False)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions."""
        return await self._generate(request, chat=True)

    async def models(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/models: the one model of the service."""
        config = self.fleet.config
        if config is None:
            return error_response(HTTPStatus.SERVICE_UNAVAILABLE, "The router has no configuration yet.")
        model = {
            "id": config.served_name,
            "object": "model",
            "created": self._started,
            "owned_by": "pd-operator",
        }
        return web.json_response({"object": "list", "data": [model]})

    async def show_metrics(self, request: web.Request) -> web.StreamResponse:
        """GET /metrics."""
        return web.Response(
            body=generate_latest(self.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def healthz(self, request: web.Request) -> web.StreamResponse:
        """GET /healthz: the process answers."""
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.StreamResponse:
        """GET /readyz: requests can be served."""
        if self.draining:
            why = "shutting down"
        elif self.fleet.config is None:
            why = "no configuration yet"
        elif not self.fleet.table.usable:
            why = "no engine is ready"
        else:
            return web.Response(text="ok\n")
        return web.Response(text=why + "\n", status=HTTPStatus.SERVICE_UNAVAILABLE)

    async def _generate(self, request: web.Request, chat: bool) -> web.StreamResponse:
        arrival_s = self._loop.time()
        config = self.fleet.config
        if config is None:
            return self._refuse(
                HTTPStatus.SERVICE_UNAVAILABLE, "The router has no configuration yet.", Outcome.NO_ENGINE
            )
        try:
            x = await self._admit(request, chat, config, arrival_s)
        except ClientFault as fault:
            return self._refuse(fault.status, str(fault), Outcome.CLIENT_ERROR, fault.param)
        self.in_flight += 1
        self.idle.clear()
        try:
            response = await self._answer(x)
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()
            self._steps.kv_taken(x)
            x.record(self.metrics, self._loop.time())
            if x.input_tokens is not None:
                self._estimate.learn(x.prompt, x.input_tokens)
        if self.draining and not response.prepared:
            response.force_close()
        return response

    async def _admit(
        self, request: web.Request, chat: bool, config: RouterConfig, arrival_s: float
    ) -> Exchange:
        try:
            async with asyncio.timeout_at(arrival_s + config.request_timeout_s):
                raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            limit = defaults.MAX_BODY_BYTES
            message = f"The request body is larger than {limit} bytes."
            raise ClientFault(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message) from None
        except TimeoutError:
            raise ClientFault(
                HTTPStatus.REQUEST_TIMEOUT, "The request body did not arrive in time."
            ) from None
        call = parse_call(request.path, chat, raw, config.served_name)
        if call.stripped:
            self.metrics.stripped.inc()
        size = prompt_size(call.body, chat)
        tokens = self._estimate.tokens(size)
        self._note_admission(size, tokens)
        self._engines.set_connect_limit(config.connect_timeout_s)
        headers = {name: request.headers[name] for name in FORWARDED if name in request.headers}
        headers["Content-Type"] = "application/json"
        request_id = request.headers.get(REQUEST_ID, "")[:REQUEST_ID_MAX] or uuid.uuid4().hex
        known = work_tokens(size, tokens)
        chain = prefix_chain(call.body, chat) if config.prefix_caching else Chain()
        admitted_ms = time.time_ns() // 1_000_000
        return Exchange(
            request, call, config, request_id, headers, arrival_s, admitted_ms, size, chain, known
        )

    def _note_admission(self, size: PromptSize, tokens: float | None) -> None:
        """Demand is counted here: what finishes is bounded by what the engines can do."""
        self.metrics.admitted.inc()
        if tokens is not None:
            self.metrics.sized[Source.EXACT if size.tokens else Source.ESTIMATED].inc()
            self.metrics.admitted_tokens.inc(tokens)
            self.metrics.admitted_squares.inc(tokens**2)

    async def _answer(self, x: Exchange) -> web.StreamResponse:
        """Serve it, and turn whatever goes wrong into an answer and an outcome."""
        limit_s = x.config.request_timeout_s
        try:
            async with asyncio.timeout_at(x.arrival_s + limit_s):
                return await self._steps.decode(x, await self._steps.prefill(x))
        except Rejected as answer:
            x.outcome = Outcome.CLIENT_ERROR
            return web.Response(
                status=answer.status,
                body=answer.body,
                content_type=answer.content_type,
                headers={REQUEST_ID: x.request_id},
            )
        except NoEngine:
            x.outcome = Outcome.NO_ENGINE
            message = f"No engine of {x.config.service} is ready."
            return await self._fail(x, HTTPStatus.SERVICE_UNAVAILABLE, message)
        except EngineFailed as error:
            timed_out = error.status is HTTPStatus.GATEWAY_TIMEOUT
            x.outcome = Outcome.TIMEOUT if timed_out else Outcome.ERROR
            return await self._fail(x, error.status, f"The engine failed: {error}")
        except TimeoutError:
            x.outcome = Outcome.TIMEOUT
            return await self._fail(x, HTTPStatus.GATEWAY_TIMEOUT, f"Not finished within {limit_s:g} s.")
        except (asyncio.CancelledError, ClientGone):
            x.outcome = Outcome.CANCELLED
            raise asyncio.CancelledError from None
        except BaseException:
            x.outcome = Outcome.ERROR
            raise

    async def _fail(self, x: Exchange, status: HTTPStatus, message: str) -> web.StreamResponse:
        """An error as the answer, or as the last event of a stream that has begun."""
        if x.response is None:
            response = error_response(status, message)
            response.headers[REQUEST_ID] = x.request_id
            return response
        try:
            await x.write(error_event(status, message))
            return await x.end()
        except ClientGone:
            return x.response

    def _refuse(
        self, status: HTTPStatus, message: str, outcome: Outcome, param: str | None = None
    ) -> web.StreamResponse:
        self.metrics.finished[Path.NONE, outcome].inc()
        if outcome is not Outcome.CLIENT_ERROR:
            self.metrics.judged.inc()
        return error_response(status, message, param)
