"""Calls to engines: what can go wrong with one, told apart by what may be done about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
)
from yarl import URL

from pdoperator.api import defaults
from pdoperator.router.sse import ABORT, has_output
from pdoperator.scheduling.engines import Engine


class EngineFailed(Exception):
    """The engine did not do its part; another one may. `unreachable`: it is better left alone for a while."""

    def __init__(
        self, why: str, status: HTTPStatus = HTTPStatus.BAD_GATEWAY, unreachable: bool = False
    ) -> None:
        super().__init__(why)
        self.status = status
        self.unreachable = unreachable


class Rejected(Exception):
    """The engine found fault with the client's request: its answer is the client's to see."""

    def __init__(self, status: int, body: bytes, content_type: str) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.content_type = content_type


def engine_session() -> ClientSession:
    """The pool of connections to engines. Time limits are set by the caller, by `asyncio.timeout`."""
    connector = TCPConnector(limit=0, keepalive_timeout=defaults.KEEPALIVE_S)
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        timeout=ClientTimeout(total=None),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        read_bufsize=1 << 18,
    )


class Engines:
    """HTTP to the engines over one pool."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._urls: dict[tuple[str, str], URL] = {}
        self._connect_s = defaults.CONNECT_TIMEOUT_S
        self._limit = ClientTimeout(total=None, sock_connect=self._connect_s)

    def set_connect_limit(self, seconds: float) -> None:
        """How long a connection may take to come about."""
        if seconds != self._connect_s:
            self._connect_s = seconds
            self._limit = ClientTimeout(total=None, sock_connect=seconds)

    @asynccontextmanager
    async def post(
        self, engine: Engine, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[ClientResponse]:
        """The engine's answer, once its head is there and says 200. The connection is closed when left early.

        Raises EngineFailed (no connection, cut off, 5xx) or Rejected (4xx), also for what happens in the `async with`.
        """
        try:
            async with self._session.post(
                self._url(engine, path), data=body, headers=headers, timeout=self._limit
            ) as response:
                if response.status != HTTPStatus.OK:
                    raise await _failure(response)
                yield response
        except (ClientConnectorError, ConnectionTimeoutError) as error:
            raise EngineFailed(f"{engine.name} cannot be reached: {error}", unreachable=True) from error
        except (ClientError, OSError) as error:
            raise EngineFailed(f"{engine.name} broke off: {type(error).__name__}: {error}") from error

    def _url(self, engine: Engine, path: str) -> URL:
        url = self._urls.get((engine.address, path))
        if url is None:
            if len(self._urls) > 10_000:  # pod addresses come and go
                self._urls.clear()
            url = self._urls[engine.address, path] = URL(f"http://{engine.address}{path}")
        return url


async def _failure(response: ClientResponse) -> Exception:
    body = await response.read()
    if 400 <= response.status < 500:
        return Rejected(response.status, body, response.content_type)
    busy = response.status == HTTPStatus.SERVICE_UNAVAILABLE
    status = HTTPStatus.SERVICE_UNAVAILABLE if busy else HTTPStatus.BAD_GATEWAY
    return EngineFailed(f"the engine answered {response.status}: {body[:300]!r}", status)


def whole_answer(raw: bytes, engine: Engine) -> dict[str, Any]:
    """A JSON answer. Raises EngineFailed when it is none, or when the engine aborted (as it does while it drains)."""
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise EngineFailed(f"{engine.name} answered what is not JSON: {error}") from error
    if not isinstance(answer, dict):
        raise EngineFailed(f"{engine.name} answered JSON that is no object")
    choices = answer.get("choices") or ()
    if any(c.get("finish_reason") == ABORT for c in choices) and not any(has_output(c) for c in choices):
        raise EngineFailed(
            f"{engine.name} aborted the request (it drains)", HTTPStatus.SERVICE_UNAVAILABLE, unreachable=True
        )
    return answer


@asynccontextmanager
async def within(seconds: float, engine: Engine, what: str) -> AsyncIterator[asyncio.Timeout]:
    """A limit on one step. Raises EngineFailed when it passes; an outer limit stays what it is."""
    try:
        async with asyncio.timeout(seconds) as limit:
            yield limit
    except TimeoutError as error:
        raise EngineFailed(
            f"{engine.name}: no {what} within {seconds:g} s", HTTPStatus.GATEWAY_TIMEOUT, unreachable=False
        ) from error
