"""What the router costs: added latency, requests per second, CPU per streamed token. Writes one JSON object.

Engines are stubs that answer at once, so that only routers are measured. All candidates run in one go, their rounds
interleaved, each a process of its own on this machine together with stubs and load generator: figures are to be read
as ratios. The load is raw HTTP from one process, lighter than any of the routers.

- `direct`: the load straight to a stub.
- `aiohttp proxy`: the least that an aiohttp server with an aiohttp client can do for a request: one call, body passed
  through unread. The bound for one hop.
- `aiohttp proxy x2`: the same with two calls one after the other. The bound for prefill and decode.
- `pd-router aggregated`, `pd-router`: this project's, with one call and with two.
- `vllm-router`: vLLM's own (Rust), version in PEER, prefill and decode, round robin. From a virtual environment of its
  own in the cache folder; left out, with the reason, where it cannot be installed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import click
import uvloop
from aiohttp import web

from pdoperator.api.names import Role, State
from pdoperator.api.router_config import EngineCosts, RouterConfig
from pdoperator.router.app import Router
from pdoperator.router.fleet import Fleet
from pdoperator.router.main import quiet_gc, serve
from pdoperator.router.upstream import engine_session
from pdoperator.scheduling.engines import Engine

PEER = "vllm-router==0.1.17"
HOST = "127.0.0.1"
START_LIMIT_S = 60.0
PROMPT = "lorem ipsum " * 128  # 1.5 kB, some 300 tokens
BODY = json.dumps({"model": "tiny", "prompt": PROMPT, "max_tokens": 16}).encode()
STREAM_BODY = json.dumps({"model": "tiny", "prompt": PROMPT, "max_tokens": 64, "stream": True}).encode()
STREAM_TOKENS = 64
STREAM_GAP_S = 0.02
# So little that the prefill engine, which answers at once, is never predicted to be late.
COSTS = EngineCosts(
    pass_s=1e-6, latency_s=0.0, ttft_b=1e-9, ttft_c=1e-15, itl_a=1e-3, itl_b=1e-6, itl_c=1e-9,
    max_batch=1024, batched_tokens=8192, kv_tokens=10**6, transfer_s_per_token=0.0,
)  # fmt: skip


# --- stub engine -------------------------------------------------------------------------------------------


def _answer(kv: dict[str, Any] | None) -> bytes:
    body = json.dumps(
        {
            "id": "cmpl-1",
            "object": "text_completion",
            "model": "tiny",
            "choices": [{"index": 0, "text": "lorem ipsum " * 8, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 300, "completion_tokens": 16, "total_tokens": 316},
            "kv_transfer_params": kv,
        }
    ).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


HANDOFF = {"do_remote_prefill": True, "do_remote_decode": False, "remote_block_ids": [list(range(20))],
           "remote_engine_id": "stub", "remote_host": HOST, "remote_port": 5600, "tp_size": 1}  # fmt: skip
PREFILLED = _answer(HANDOFF)
DECODED = _answer(None)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)
TOKEN = _chunk(b'data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"tiny","choices":'
               b'[{"index":0,"text":" lorem","logprobs":null,"finish_reason":null}]}\n\n')  # fmt: skip
STREAM_END = _chunk(b'data: {"id":"cmpl-1","choices":[],"usage":{"prompt_tokens":300,"completion_tokens":64}}\n\n'
                    b"data: [DONE]\n\n") + b"0\r\n\r\n"  # fmt: skip
HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class StubProtocol(asyncio.Protocol):
    """Answers POSTs at once, streams with STREAM_GAP_S between tokens, and says 200 to everything else."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            total = end + 4 + length
            if len(self._buffer) < total:
                return
            body, self._buffer = self._buffer[end + 4 : total], self._buffer[total:]
            self._reply(body)

    def _reply(self, body: bytes) -> None:
        if not body:
            self._transport.write(HEALTHY)
        elif b'"do_remote_decode":true' in body:
            self._transport.write(PREFILLED)
        elif b'"stream":true' in body or b'"stream": true' in body:
            self._transport.write(STREAM_HEAD)
            self._token(STREAM_TOKENS)
        else:
            self._transport.write(DECODED)

    def _token(self, left: int) -> None:
        if self._transport.is_closing():
            return
        if left:
            self._transport.write(TOKEN)
            asyncio.get_running_loop().call_later(STREAM_GAP_S, self._token, left - 1)
        else:
            self._transport.write(STREAM_END)


async def stub(port: int) -> None:
    """A stub engine, for ever."""
    server = await asyncio.get_running_loop().create_server(StubProtocol, HOST, port)
    await server.serve_forever()


# --- candidates --------------------------------------------------------------------------------------------


async def proxy(port: int, engines: list[int]) -> None:
    """The bare reverse proxy: calls each engine in turn, passes the last one's answer through."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.Response()
        body = await request.read()
        headers = {"Content-Type": "application/json"}
        for number in engines[:-1]:
            async with session.post(
                f"http://{HOST}:{number}{request.path}", data=body, headers=headers
            ) as first:
                await first.read()
        async with session.post(
            f"http://{HOST}:{engines[-1]}{request.path}", data=body, headers=headers
        ) as answer:
            if answer.content_type == "application/json":
                return web.Response(body=await answer.read(), content_type="application/json")
            response = web.StreamResponse(headers={"Content-Type": answer.headers["Content-Type"]})
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with engine_session() as session:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        await asyncio.Event().wait()


async def pd_router(port: int, engines: list[int]) -> None:
    """This project's router over these engines: one decodes; with two, the first prefills."""
    fleet = Fleet()
    fleet.config = RouterConfig(
        service="bench", served_name="tiny", engine_port=0, connect_timeout_s=2.0, prefill_timeout_s=60.0,
        request_timeout_s=60.0, kv_lease_s=30.0, ttft_target_s=2.0, tpot_target_s=0.08,
        local_prefill=True, costs=COSTS,
    )  # fmt: skip
    roles = [Role.PREFILL, Role.DECODE][-len(engines) :]
    fleet.set_engines(
        Engine(role.value, f"{HOST}:{number}", role, State.SERVING, "r1", ready=True)
        for role, number in zip(roles, engines, strict=True)
    )
    quiet_gc()
    async with engine_session() as session:
        await serve(Router(fleet, session), HOST, port, linger_s=0.0)


def _run(main: Callable[..., Awaitable[None]], *args: Any) -> None:
    uvloop.run(main(*args))  # type: ignore[arg-type]


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(main: Callable[..., Awaitable[None]], *args: Any) -> Iterator[int]:
    """The coroutine in a process of its own; yields its process id."""
    child = multiprocessing.get_context("spawn").Process(target=_run, args=(main, *args), daemon=True)
    child.start()
    assert child.pid is not None
    try:
        yield child.pid
    finally:
        child.terminate()
        child.join(5)
        child.kill()


def peer_program() -> Path:
    """vLLM's router in its own environment in the cache, installed if need be. Raises CalledProcessError, OSError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "pd-operator" / "peers" / PEER.replace("==", "-")
    program, done = folder / "bin" / "vllm-router", folder / "installed"
    if not done.exists():
        click.echo(f"installing {PEER} into {folder}", err=True)
        venv.create(folder, with_pip=True, clear=True)
        command = [str(folder / "bin" / "pip"), "install", "--quiet", PEER, "orjson"]
        subprocess.run(command, check=True, timeout=300, stdout=sys.stderr)
        done.touch()
    return program


@contextmanager
def peer(port: int, engines: list[int]) -> Iterator[int]:
    """vLLM's router over these two engines; yields its process id."""
    command = [
        peer_program(), "--host", HOST, "--port", port, "--prometheus-host", HOST, "--prometheus-port", free_port(),
        "--vllm-pd-disaggregation", "--prefill", f"http://{HOST}:{engines[0]}", "--decode",
        f"http://{HOST}:{engines[1]}", "--policy", "round_robin", "--worker-startup-check-interval", 1,
        "--log-level", "error",
    ]  # fmt: skip
    quiet = subprocess.DEVNULL
    with subprocess.Popen([str(part) for part in command], stdout=quiet, stderr=quiet) as child:
        try:
            yield child.pid
        finally:
            child.kill()


# --- load --------------------------------------------------------------------------------------------------


class Connection(asyncio.Protocol):
    """One keep-alive connection that sends a request and waits for the whole answer."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None
        self._buffer = bytearray()
        self._need = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionError("closed by the router"))

    async def ask(self, request: bytes) -> None:
        """Send it, wait for all of the answer. Raises RuntimeError unless that is 200."""
        self._buffer.clear()
        self._need = -1
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._waiter
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(self._buffer[:300].decode(errors="replace"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._need < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            at = head.find(b"content-length:")
            self._need = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        done = len(self._buffer) >= self._need if self._need else self._buffer.endswith(b"\r\n0\r\n\r\n")
        if done and self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


def _request(body: bytes) -> bytes:
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


async def load(port: int, body: bytes, concurrency: int, requests: int) -> tuple[list[float], float]:
    """Latencies in seconds, and how long it took altogether."""
    loop, request, latencies = asyncio.get_running_loop(), _request(body), list[float]()

    async def worker(count: int) -> None:
        _, connection = await loop.create_connection(Connection, HOST, port)
        for _ in range(count):
            begin = time.perf_counter()
            await connection.ask(request)
            latencies.append(time.perf_counter() - begin)
        connection._transport.close()

    begin = time.perf_counter()
    await asyncio.gather(*(worker(requests // concurrency) for _ in range(concurrency)))
    return latencies, time.perf_counter() - begin


async def ready(port: int) -> None:
    """Wait until requests are answered. Raises TimeoutError."""
    async with asyncio.timeout(START_LIMIT_S):
        while True:
            try:
                await load(port, BODY, 1, 1)
                return
            except (OSError, RuntimeError):
                await asyncio.sleep(0.2)


# --- measuring ---------------------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """CPU seconds a process has used, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Candidate:
    """One router, and what was measured of it."""

    name: str
    port: int
    pid: int
    p50_s: list[float] = field(default_factory=list)
    p99_s: list[float] = field(default_factory=list)
    rps: list[float] = field(default_factory=list)
    cpu_request_s: list[float] = field(default_factory=list)
    cpu_token_s: list[float] = field(default_factory=list)

    async def round(self, requests: int) -> None:
        """Measure once more."""
        gc.collect()
        await load(self.port, BODY, 1, requests // 10)
        latencies, _ = await load(self.port, BODY, 1, requests)
        cuts = statistics.quantiles(latencies, n=100)
        self.p50_s.append(cuts[49])
        self.p99_s.append(cuts[98])
        before = cpu_s(self.pid)
        _, wall_s = await load(self.port, BODY, 32, requests * 4)
        self.rps.append(requests * 4 / wall_s)
        self.cpu_request_s.append((cpu_s(self.pid) - before) / (requests * 4))
        before = cpu_s(self.pid)
        await load(self.port, STREAM_BODY, 32, 64)
        self.cpu_token_s.append((cpu_s(self.pid) - before) / (64 * STREAM_TOKENS))

    def figures(self, direct: Candidate) -> dict[str, float]:
        """Medians over the rounds."""
        return {
            "added_p50_s": round(statistics.median(self.p50_s) - statistics.median(direct.p50_s), 6),
            "added_p99_s": round(statistics.median(self.p99_s) - statistics.median(direct.p99_s), 6),
            "requests_per_s": round(statistics.median(self.rps), 1),
            "cpu_s_per_request": round(statistics.median(self.cpu_request_s), 6),
            "cpu_s_per_streamed_token": round(statistics.median(self.cpu_token_s), 8),
        }


async def measure(rounds: int, requests: int) -> dict[str, Any]:
    """Start everything, measure in turn, return the report."""
    skipped: dict[str, str] = {}
    with ExitStack() as stack:
        p, d = free_port(), free_port()
        stub_pid = [stack.enter_context(process(stub, port)) for port in (p, d)][1]
        candidates = [Candidate("direct", d, stub_pid)]
        ours: list[tuple[str, Any, list[int]]] = [
            ("aiohttp proxy", proxy, [d]),
            ("aiohttp proxy x2", proxy, [p, d]),
            ("pd-router aggregated", pd_router, [d]),
            ("pd-router", pd_router, [p, d]),
        ]
        for name, main, engines in ours:
            port = free_port()
            candidates.append(Candidate(name, port, stack.enter_context(process(main, port, engines))))
        for candidate in candidates:
            await ready(candidate.port)
        try:
            port = free_port()
            other = Candidate("vllm-router", port, stack.enter_context(peer(port, [p, d])))
            await ready(port)
            candidates.append(other)
        except (OSError, subprocess.SubprocessError) as error:
            skipped["vllm-router"] = f"{type(error).__name__}: {error}"
        for number in range(rounds):
            click.echo(f"round {number + 1} of {rounds}", err=True)
            for candidate in candidates:
                await candidate.round(requests)
    return report({candidate.name: candidate for candidate in candidates}, skipped)


def report(candidates: dict[str, Candidate], skipped: dict[str, str]) -> dict[str, Any]:
    """Figures by router, and ours in relation to the others'."""
    figures = {name: candidate.figures(candidates["direct"]) for name, candidate in candidates.items()}
    ratios = {}
    for mine, other in (
        ("pd-router", "aiohttp proxy x2"),
        ("pd-router aggregated", "aiohttp proxy"),
        ("pd-router", "vllm-router"),
    ):
        if other in figures:
            ratios[f"{mine} / {other}"] = {
                key: round(figures[mine][key] / figures[other][key], 3)
                for key in figures[mine]
                if figures[other][key]
            }
    return {
        "benchmark": "router",
        "machine": {"cpus": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()},
        "figures": figures,
        "ratios": ratios,
        "skipped": skipped,
    }


@click.command(help=__doc__)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--rounds", default=5, show_default=True)
@click.option(
    "--requests", default=500, show_default=True, help="Per round at concurrency 1; at 32 four times as many."
)
def main(as_json: bool, rounds: int, requests: int) -> None:
    """Measure and print."""
    result = uvloop.run(measure(rounds, requests))
    if as_json:
        click.echo(json.dumps(result))
        return
    for name, figures in result["figures"].items():
        click.echo(f"{name:22s} " + "  ".join(f"{key} {value:g}" for key, value in figures.items()))
    for name, ratios in result["ratios"].items():
        click.echo(f"{name}: " + "  ".join(f"{key} {value:g}" for key, value in ratios.items()))
    for name, why in result["skipped"].items():
        click.echo(f"left out: {name}: {why}")


if __name__ == "__main__":
    main()
