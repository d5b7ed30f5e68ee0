"""Following objects through everything that happens to a watch, against a scripted API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from pdoperator.cluster import watch
from pdoperator.cluster.watch import Change, Object, Source, follow

Watch = Callable[[web.StreamResponse], Awaitable[None]]


def thing(name: str, version: int) -> Object:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def line(kind: str, body: Object) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


GONE = line("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})


class ScriptedServer:
    """Answers each listing and each watch with the next of its script; then its watches stay open and silent."""

    def __init__(self, lists: list[Any], watches: list[bytes | Watch | int]) -> None:
        self.lists = lists
        self.watches = watches
        self.asked: list[str] = []
        self.queries: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.queries.append(query)
        if "watch" not in query:
            self.asked.append("list")
            names = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
            if isinstance(names, int):
                return web.json_response({"message": "scripted"}, status=names)
            items = [thing(name, 1) for name in names]
            return web.json_response({"metadata": {"resourceVersion": "100"}, "items": items})
        self.asked.append(f"watch {query['resourceVersion']}")
        script = self.watches.pop(0) if self.watches else hang
        if isinstance(script, int):
            return web.json_response({"message": "scripted"}, status=script)
        response = web.StreamResponse()
        await response.prepare(request)
        if isinstance(script, bytes):
            await response.write(script)
        else:
            await script(response)
        return response


async def hang(response: web.StreamResponse) -> None:
    await asyncio.sleep(3600)


async def break_off(response: web.StreamResponse) -> None:
    await response.write(line("MODIFIED", thing("b", 107)))
    assert response._req is not None
    assert response._req.transport is not None
    response._req.transport.abort()


class Seen:
    """What the callbacks were told."""

    def __init__(self) -> None:
        self.snapshots: list[list[str]] = []
        self.events: list[tuple[Change, str]] = []
        self.contacts: list[bool] = []

    def on_snapshot(self, objects: list[Object]) -> None:
        self.snapshots.append([o["metadata"]["name"] for o in objects])

    def on_event(self, change: Change, body: Object) -> None:
        self.events.append((change, body["metadata"]["name"]))


@asynccontextmanager
async def following(server: ScriptedServer) -> AsyncIterator[Seen]:
    app = web.Application()
    app.router.add_get("/api/v1/pods", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    seen = Seen()
    source = Source("/api/v1/pods", label_selector="app=x,tier=y")
    configuration = Configuration(host=f"http://127.0.0.1:{port}")
    async with ApiClient(configuration) as client:
        task = asyncio.create_task(
            follow(client, source, seen.on_snapshot, seen.on_event, seen.contacts.append)
        )
        try:
            yield seen
        finally:
            task.cancel()
            await asyncio.wait([task])
            await runner.cleanup()


async def until(server: ScriptedServer, last: str, times: int = 1) -> None:
    """Wait until the server has been asked this, so many times."""
    async with asyncio.timeout(60):
        while True:
            if server.asked.count(last) >= times and server.asked[-1] == last:
                await asyncio.sleep(0.02)
                return
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BACKOFF_FIRST_S", 0.01)


async def test_a_watch_that_the_server_ends_goes_on_where_it_was_without_a_new_listing() -> None:
    first = line("ADDED", thing("b", 105)) + line("DELETED", thing("a", 106))
    server = ScriptedServer([["a"]], [first])
    async with following(server) as seen:
        await until(server, "watch 106")
    assert server.asked == ["list", "watch 100", "watch 106"]
    assert seen.snapshots == [["a"]]
    assert seen.events == [(Change.ADDED, "b"), (Change.DELETED, "a")]
    assert all(seen.contacts)
    assert server.queries[0] == {"labelSelector": "app=x,tier=y"}
    assert server.queries[1]["allowWatchBookmarks"] == "true"
    assert 60 <= int(server.queries[1]["timeoutSeconds"]) <= 75


async def test_a_bookmark_moves_the_place_and_is_no_event() -> None:
    server = ScriptedServer([["a"]], [line("BOOKMARK", thing("", 150))])
    async with following(server) as seen:
        await until(server, "watch 150")
    assert seen.events == []


@pytest.mark.parametrize("gone", [GONE, 410])
async def test_a_place_that_is_too_old_leads_to_a_new_listing(gone: bytes | int) -> None:
    server = ScriptedServer([["a"], ["b"]], [gone])
    async with following(server) as seen:
        await until(server, "watch 100", times=2)
    assert server.asked[:4] == ["list", "watch 100", "list", "watch 100"]
    assert seen.snapshots == [["a"], ["b"]]
    assert all(seen.contacts)


async def test_a_broken_connection_is_taken_up_again_where_it_was_and_told() -> None:
    server = ScriptedServer([["a"]], [break_off])
    async with following(server) as seen:
        await until(server, "watch 107")
    assert server.asked == ["list", "watch 100", "watch 107"]
    assert seen.events == [(Change.MODIFIED, "b")]
    assert False in seen.contacts


async def test_a_server_that_refuses_is_asked_again_until_it_does_not() -> None:
    server = ScriptedServer([503, 403, ["a"]], [500])
    async with following(server) as seen:
        await until(server, "watch 100", times=2)
    assert server.asked == ["list", "list", "list", "watch 100", "list", "watch 100"]
    assert seen.snapshots == [["a"], ["a"]]


@pytest.mark.parametrize("nonsense", [b"<html>\n", b'{"type": "ADDED"}\n', b"[]\n", line("ERROR", {})])
async def test_what_is_no_answer_of_an_api_server_does_not_end_it(nonsense: bytes) -> None:
    server = ScriptedServer([["a"]], [nonsense])
    async with following(server) as seen:
        async with asyncio.timeout(60):
            while len(server.asked) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert server.asked == ["list", "watch 100", "list", "watch 100"]
    assert seen.contacts.count(False) == 1


async def test_a_server_that_falls_silent_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "WATCH_S", 0)
    monkeypatch.setattr(watch, "GRACE_S", 0.1)
    server = ScriptedServer([["a"]], [])
    async with following(server) as seen, asyncio.timeout(60):
        while False not in seen.contacts:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_an_object_larger_than_any_read_buffer_arrives() -> None:
    large = thing("big", 120) | {"data": "x" * (5 << 20)}
    server = ScriptedServer([["a"]], [line("ADDED", large)])
    async with following(server) as seen:
        await until(server, "watch 120")
    assert seen.events == [(Change.ADDED, "big")]
