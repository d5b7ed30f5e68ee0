"""The requests of the stand-in, made as the node's own user, with the rights that a node has."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

_STRATEGIC_MERGE = "application/strategic-merge-patch+json"
_WATCH_S = 300


class ApiError(Exception):
    """An answer that is no success; `status` is its HTTP code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class ResourceExpired(Exception):
    """The watch cannot go on from where it was: list again."""


def timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def microtime() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class NodeApi:
    def __init__(self, server: str, authority: Path, certificate: Path, key: Path) -> None:
        self._server = server
        self._tls = ssl.create_default_context(cafile=str(authority))
        self._tls.load_cert_chain(certificate, key)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._session = aiohttp.ClientSession(self._server, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        return await self._request("GET", path, query=query)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._request("POST", path, body)

    async def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._request("PATCH", path, body, content_type=_STRATEGIC_MERGE)

    async def delete(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._request("DELETE", path, body)

    async def watch(self, path: str, version: str, **query: str) -> AsyncIterator[dict[str, Any]]:
        """Events after `version`, until the server ends the stream. Raises `ResourceExpired`."""
        assert self._session is not None
        more = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(_WATCH_S)}
        timeout = aiohttp.ClientTimeout(total=_WATCH_S + 30, sock_connect=10)
        async with self._session.get(
            path, params=query | more, timeout=timeout, read_bufsize=2**22
        ) as answer:
            if answer.status == 410:
                raise ResourceExpired
            if answer.status >= 400:
                raise ApiError(answer.status, await answer.text())
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ResourceExpired
                yield event

    async def _request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        assert self._session is not None
        data = None if body is None else json.dumps(body)
        async with self._session.request(
            method,
            path,
            data=data,
            params=query,
            headers={"Content-Type": content_type},
            timeout=aiohttp.ClientTimeout(total=15),
        ) as answer:
            content: dict[str, Any] = json.loads(await answer.read() or b"{}")
            if answer.status >= 400:
                raise ApiError(answer.status, str(content.get("message", "")))
            return content


# What a request may fail with while the API server is away; it is tried again.
UNREACHABLE = (aiohttp.ClientError, asyncio.TimeoutError, OSError, json.JSONDecodeError)
