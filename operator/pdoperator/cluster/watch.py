"""List, then watch, for ever: the one way in which all parts follow objects of the API server."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from aiohttp import ClientError, ClientResponse, ClientTimeout
from kubernetes.aio.client import ApiClient

from pdoperator.api import defaults

log = logging.getLogger(__name__)

Object = dict[str, Any]

WATCH_S = 60  # the server ends a watch after this long; what went wrong silently is noticed by then
GRACE_S = 10.0  # and the client itself a little later, should the server not be there any more
JITTER = 0.25  # so that many watchers do not come back at once
BACKOFF_FIRST_S = 0.2
BACKOFF_LIMIT_S = 5.0


BOOKMARK = "BOOKMARK"  # no change: how far the watch has come


class Change(StrEnum):
    """What happened to an object, in the API's own words."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Source:
    """What to follow: the path of a collection, such as `/api/v1/namespaces/x/pods`, and its selectors."""

    path: str
    label_selector: str = ""
    field_selector: str = ""

    def query(self, **more: str) -> list[tuple[str, str]]:
        """Query parameters of a request for it."""
        both = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector, **more}
        return [(name, value) for name, value in both.items() if value]


class ApiError(Exception):
    """The API server answered with an error, in the response or within a watch."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


FAILURES = (ApiError, ClientError, OSError, TimeoutError)


async def follow(
    client: ApiClient,
    source: Source,
    on_snapshot: Callable[[list[Object]], None],
    on_event: Callable[[Change, Object], None],
    on_contact: Callable[[bool], None] = lambda _: None,
) -> NoReturn:
    """Follow `source` until cancelled.

    `on_snapshot` gets all objects after each listing: what is not in it is gone, deletions missed meanwhile included.
    `on_event` gets each change after that. `on_contact` gets True on every sign of the API server, also when nothing
    changes (at least each WATCH_S), and False when it fails: what was last known is then the best there is.
    Failures of the API server are logged and retried without end, with a bounded back-off; it is asked to list anew
    only when it no longer knows where we were (410). Callbacks must not raise: what they raise ends it.
    """
    version = ""
    failures = 0
    while True:
        try:
            if not version:
                version, objects = await _list(client, source)
                on_snapshot(objects)
                on_contact(True)
            async with aclosing(_watch(client, source, version)) as events:
                async for kind, thing, seen in events:
                    version = seen
                    failures = 0
                    if kind != BOOKMARK:
                        on_event(Change(kind), thing)
                    on_contact(True)
            failures = 0
            on_contact(True)
        except FAILURES as error:
            failures += 1
            if isinstance(error, ApiError):  # the server is there, but our place in its history may not be
                version = ""
            on_contact(isinstance(error, ApiError) and error.code == 410)
            if failures > 1 or not _gone(error):
                log.warning("following %s: %s: %s; trying again", source.path, type(error).__name__, error)
                await asyncio.sleep(_backoff_s(failures))


def _gone(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.code == 410


def _backoff_s(failures: int) -> float:
    return min(BACKOFF_LIMIT_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 10)) * (
        1 + JITTER * random.random()
    )


async def _list(client: ApiClient, source: Source) -> tuple[str, list[Object]]:
    """Resource version and objects. The kind is not repeated in each item, as the API has it."""
    limit = ClientTimeout(total=defaults.API_TIMEOUT_S)
    response = await _get(client, source.path, source.query(), limit)
    try:
        body = await response.read()
    finally:
        response.release()
    with _understood():
        listing = json.loads(body)
        return listing["metadata"]["resourceVersion"], listing.get("items") or []


async def _watch(
    client: ApiClient, source: Source, version: str
) -> AsyncGenerator[tuple[str, Object, str], None]:
    """Kind, object and resource version of each event, bookmarks included, until the server ends the watch."""
    seconds = int(WATCH_S * (1 + JITTER * random.random()))
    query = source.query(
        watch="true", allowWatchBookmarks="true", resourceVersion=version, timeoutSeconds=str(seconds)
    )
    limit = ClientTimeout(total=seconds + GRACE_S, sock_connect=defaults.API_TIMEOUT_S)
    response = await _get(client, source.path, query, limit)
    try:
        async for line in _lines(response):
            with _understood():
                event = json.loads(line)
                kind, thing = event["type"], event["object"]
                if kind == "ERROR":
                    raise ApiError(int(thing.get("code", 500)), str(thing.get("message", "")))
                version = thing["metadata"]["resourceVersion"]
            yield kind, thing, version
    finally:
        response.close()


async def _get(
    client: ApiClient, path: str, query: list[tuple[str, str]], limit: ClientTimeout
) -> ClientResponse:
    request = await client.param_serialize(
        "GET",
        path,
        query_params=query,
        header_params={"Accept": "application/json"},
        auth_settings=["BearerToken"],
    )
    response: ClientResponse = (await client.call_api(*request, _request_timeout=limit)).response
    if response.status != 200:
        text = (await response.read())[:500].decode(errors="replace")
        response.release()
        raise ApiError(response.status, _message(text))
    return response


@contextmanager
def _understood() -> Iterator[None]:
    """Turns what is no answer of an API server (a proxy's page, a line cut off) into an ApiError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ApiError(502, f"not understood: {type(error).__name__}: {error}") from error


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text


async def _lines(response: ClientResponse) -> AsyncIterator[bytes]:
    """Lines of any length: an object may be larger than what aiohttp's own readline accepts."""
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
