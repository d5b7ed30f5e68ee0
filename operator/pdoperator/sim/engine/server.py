"""The HTTP surface of one simulated engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from pdoperator.sim.engine import openai
from pdoperator.sim.engine.engine import Engine, Life
from pdoperator.sim.engine.sequence import Sequence

VERSION = "0.32.0"  # the vLLM whose behaviour this follows
MAX_BODY_BYTES = 64 << 20
BUSY = (
    "The engine is currently busy and cannot accept new requests. "
    "Please try again later or on a different instance."
)
DIED = "EngineCore encountered an issue. See stack trace for the root cause."
NO_TOKENIZER = "cannot schedule new futures after shutdown"  # vLLM stops its tokenizer threads first
JSON = "application/json"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(engine: Engine) -> web.Application:
    """All routes. The engine is started and stopped by the caller."""
    served, root = engine.config.served_names, engine.config.model

    async def health(request: web.Request) -> web.Response:
        return web.Response(status=503 if engine.life is Life.DEAD else 200)

    async def version(request: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps({"version": VERSION}), content_type=JSON)

    async def models(request: web.Request) -> web.Response:
        return web.Response(body=openai.models_body(served, root, engine.max_model_len), content_type=JSON)

    async def metrics(request: web.Request) -> web.Response:
        body, content_type = engine.metrics.exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_get("/health", health)
    app.router.add_get("/ping", health)
    app.router.add_get("/version", version)
    app.router.add_get("/v1/models", models)
    app.router.add_get("/metrics", metrics)
    app.router.add_post("/v1/completions", _generator(engine, chat=False))
    app.router.add_post("/v1/chat/completions", _generator(engine, chat=True))
    return app


def _generator(engine: Engine, chat: bool) -> Handler:
    served = engine.config.served_names

    async def handle(http: web.Request) -> web.StreamResponse:
        try:
            request = openai.parse(await http.read(), http.headers, chat, served, engine.max_model_len)
        except openai.BadRequest as refused:
            return _error(str(refused), refused.kind, refused.param, refused.status)
        if engine.life is Life.DRAINING and not request.tokenized:
            return _error(NO_TOKENIZER, "InternalServerError", None, 500)
        if engine.rejection(len(request.prompt)):
            return _error(BUSY, "Service Unavailable", None, 503)
        seq = engine.submit(_sequence(engine, request), request.transfer)
        try:
            if request.stream:
                return await _stream(http, request, seq)
            await seq.wait(0)
        finally:
            engine.abort(seq)  # the client went away; nothing to do when it has ended
        if seq.finish_reason == "error":
            return _error(DIED, "InternalServerError", None, 500)
        return web.Response(
            body=openai.unary_body(request, seq, engine.transfer_params(seq)), content_type=JSON
        )

    return handle


def _sequence(engine: Engine, request: openai.ParsedRequest) -> Sequence:
    return Sequence(
        request_id=openai.internal_request_id(request),
        prompt=request.prompt,
        max_tokens=request.max_tokens,
        block_size=engine.config.block_size,
        arrived_s=asyncio.get_running_loop().time(),
        streaming=request.stream,
        salt=request.cache_salt.encode(),
        priority=request.priority,
    )


async def _stream(http: web.Request, request: openai.ParsedRequest, seq: Sequence) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    response.enable_chunked_encoding()
    await response.prepare(http)
    if request.chat:
        await response.write(openai.opening_chunk(request))
    sent = 0
    while True:
        await seq.wait(sent)
        generated, finished = len(seq.output), seq.finish_reason
        if finished == "error":
            await response.write(openai.error_event(DIED))
            break
        if generated > sent or finished:
            new = seq.output[sent:generated]
            await response.write(openai.chunk(request, new, generated, finished, first=sent == 0))
            sent = generated
        if finished:
            if request.include_usage:
                await response.write(openai.usage_chunk(request, generated))
            break
    await response.write(openai.DONE)
    await response.write_eof()
    return response


def _error(message: str, kind: str, param: str | None, status: int) -> web.Response:
    return web.Response(
        body=openai.error_body(message, kind, param, status), status=status, content_type=JSON
    )


async def serve(engine: Engine, host: str, port: int) -> web.AppRunner:
    """Open the port. A client that hangs up cancels its request, as in vLLM."""
    runner = web.AppRunner(
        build_app(engine), handler_cancellation=True, access_log=None, shutdown_timeout=1.0
    )
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=1024).start()
    return runner
