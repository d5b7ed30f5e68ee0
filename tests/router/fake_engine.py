"""A scripted engine on a real socket: says what vLLM says, fails as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from pdoperator.api.names import Role, State
from pdoperator.scheduling.engines import Engine

Script = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@dataclass
class FakeEngine:
    """`script`, when set, answers instead of the engine."""

    name: str
    role: Role
    revision: str = "r1"
    tokens: int = 4
    token_s: float = 0.0
    host: str = "127.0.0.1"
    port: int = 0
    script: Script | None = None
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    cancelled: int = 0
    running: int = 0
    most_running: int = 0

    def engine(self, **changes: Any) -> Engine:
        """Its row of the routing table."""
        facts: dict[str, Any] = {
            "name": self.name,
            "address": f"{self.host}:{self.port}",
            "role": self.role,
            "state": State.SERVING,
            "revision": self.revision,
            "ready": True,
        }
        return Engine(**{**facts, **changes})

    def hold(self) -> asyncio.Event:
        """Answer from now on once the event is set."""
        gate = asyncio.Event()

        async def script(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            await gate.wait()
            return await self.answer(request, body)

        self.script = script
        return gate

    @asynccontextmanager
    async def started(self) -> AsyncIterator[FakeEngine]:
        """Listening on a port of its own."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/completions", self._handle)
        app.router.add_post("/v1/chat/completions", self._handle)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.port)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.bodies.append(body)
        self.headers.append(request.headers)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await (self.script(request, body) if self.script else self.answer(request, body))
        except (asyncio.CancelledError, ConnectionError):
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        """As vLLM would."""
        chat = request.path.endswith("chat/completions")
        if body.get("stream"):
            return await self._stream(request, body, chat)
        return web.json_response(self.whole(body, chat))

    def whole(self, body: dict[str, Any], chat: bool) -> dict[str, Any]:
        """An answer in one piece."""
        prefill = (body.get("kv_transfer_params") or {}).get("do_remote_decode")
        n = 1 if prefill else self.tokens
        text = "tok " * n
        choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        return {
            "id": "cmpl-1",
            "model": body.get("model"),
            "choices": [{"index": 0, "finish_reason": "length", **choice}],
            "usage": {"prompt_tokens": 7, "completion_tokens": n, "total_tokens": 7 + n},
            "kv_transfer_params": handoff(self.name) if prefill else None,
        }

    async def _stream(self, request: web.Request, body: dict[str, Any], chat: bool) -> web.StreamResponse:
        response = await start_stream(request)
        if chat:
            await response.write(event(delta={"role": "assistant", "content": ""}))
        for number in range(self.tokens):
            if self.token_s:
                await asyncio.sleep(self.token_s)
            last = "length" if number == self.tokens - 1 else None
            said: dict[str, Any] = {"delta": {"content": "tok "}} if chat else {"text": "tok "}
            await response.write(event(finish=last, **said))
        if (body.get("stream_options") or {}).get("include_usage"):
            await response.write(usage_event(self.tokens))
        await response.write(b"data: [DONE]\n\n")
        return response


def handoff(name: str) -> dict[str, Any]:
    """What P returns for D."""
    return {
        "do_remote_prefill": True,
        "do_remote_decode": False,
        "remote_engine_id": name,
        "remote_block_ids": [[1]],
    }


async def start_stream(request: web.Request) -> web.StreamResponse:
    """The head of a stream; vLLM sends it before there is a token."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    return response


def event(finish: str | None = None, **said: Any) -> bytes:
    """One event with one choice."""
    body = {"id": "cmpl-1", "choices": [{"index": 0, "finish_reason": finish, **said}]}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def usage_event(tokens: int) -> bytes:
    """The event that only comes when usage was asked for."""
    body = {"id": "cmpl-1", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": tokens}}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def answers(status: int, body: dict[str, Any] | None = None) -> Script:
    """A script that always answers that."""

    async def script(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(body or {"error": {"message": "scripted", "code": status}}, status=status)

    return script


async def aborts(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """What vLLM says to a request that comes while it drains."""
    if not body.get("stream"):
        choice = {
            "index": 0,
            "text": "",
            "finish_reason": "abort",
            "message": {"role": "assistant", "content": ""},
        }
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 0}})
    response = await start_stream(request)
    await response.write(event(delta={"role": "assistant", "content": ""}))
    await response.write(event(finish="abort", text=""))
    await response.write(b"data: [DONE]\n\n")
    return response


async def hangs(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Never answers."""
    await asyncio.sleep(3600)
    raise AssertionError


async def breaks_off(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Two tokens of a stream, then the connection is gone."""
    response = await start_stream(request)
    await response.write(event(text="tok "))
    await response.write(event(text="tok "))
    assert request.transport is not None
    request.transport.close()
    return response


async def drops(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """The connection is gone before a word."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
