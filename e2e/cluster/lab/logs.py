"""Serves container logs the way a kubelet does, so that `kubectl logs` works."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path

from aiohttp import web

_POLL_S = 0.3
_CHUNK = 2**16


def server_tls(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """Only the API server, with a certificate of the cluster's authority, is let in."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    return context


def application(logs: Path) -> web.Application:
    def find(names: Mapping[str, str], previous: bool) -> Path | None:
        pattern = f"{names['namespace']}_{names['pod']}_*/{names['container']}/*.log"
        return log_file(logs.glob(pattern), previous)

    async def container_logs(request: web.Request) -> web.StreamResponse:
        file = find(request.match_info, previous=request.query.get("previous") == "true")
        if file is None:
            raise web.HTTPNotFound(text="no such log\n")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with file.open("rb") as source:
            if "tailLines" in request.query:
                source.seek(tail_start(file, int(request.query["tailLines"])))
            while True:
                chunk = source.read(_CHUNK)
                if chunk:
                    await response.write(chunk)
                elif request.query.get("follow") == "true" and request.transport is not None:
                    await asyncio.sleep(_POLL_S)
                else:
                    return response

    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", container_logs)
    return app


def log_file(candidates: Iterable[Path], previous: bool) -> Path | None:
    """The newest log, or the one before it."""
    ordered = sorted(candidates, key=lambda file: (file.parent.parent.stat().st_mtime, int(file.stem)))
    place = 2 if previous else 1
    return ordered[-place] if len(ordered) >= place else None


def tail_start(file: Path, lines: int) -> int:
    """Where the last `lines` lines begin."""
    content = file.read_bytes()
    starts = [
        0,
        *(place + 1 for place, byte in enumerate(content) if byte == 0x0A and place + 1 < len(content)),
    ]
    return starts[-lines] if 0 < lines <= len(starts) else (len(content) if lines == 0 else 0)
