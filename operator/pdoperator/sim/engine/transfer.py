"""KV transfer between simulated engines: the side channel that a decode engine opens to a prefill engine.

Only digests of KV blocks travel, but they travel for real, over TCP to the other engine's address: a dead, frozen,
restarted or forgetful prefill engine behaves as one. Messages are lines of JSON, one answer a request:
``hello`` (who are you), ``read`` (contents of blocks), ``done`` (you may free them), ``beat`` (keep them, I am coming).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from pdoperator.sim.engine.kv import Block, BlockPool
from pdoperator.sim.engine.metrics import EngineMetrics
from pdoperator.sim.engine.sequence import RemotePrefill

HANDSHAKE_LIMIT_S = 5.0  # vLLM's: the receive time-out of its ZMQ socket
RETRY_S = 0.2
TP_SIZE = 1
MAX_LINE_BYTES = 1 << 24


class TransferError(Exception):
    """The remote KV cannot be had."""


class EngineFault(Exception):
    """What the request asks for trips an assertion that takes a real engine down."""


@dataclass(slots=True)
class Lease:
    blocks: list[Block]
    timer: asyncio.TimerHandle


class HeldBlocks:
    """Blocks of finished prefills, kept until a decode engine has read them or the lease has run out."""

    def __init__(self, pool: BlockPool, metrics: EngineMetrics, lease_s: float) -> None:
        self._pool, self._metrics, self._lease_s = pool, metrics, lease_s
        self._leases: dict[str, Lease] = {}
        self.empty = asyncio.Event()
        self.empty.set()

    def hold(self, request_id: str, blocks: list[Block]) -> None:
        self._leases[request_id] = Lease(blocks, self._timer(request_id))
        self.empty.clear()

    def renew(self, request_id: str) -> None:
        lease = self._leases.get(request_id)
        if lease is not None:
            lease.timer.cancel()
            lease.timer = self._timer(request_id)

    def done(self, request_id: str) -> None:
        """A decode engine has read them. Too late is counted: it may have read what others wrote since."""
        if not self._free(request_id):
            self._metrics.after_expiry.inc()

    def _timer(self, request_id: str) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._lease_s, self._expire, request_id)

    def _expire(self, request_id: str) -> None:
        if self._free(request_id):
            self._metrics.expired.inc()

    def _free(self, request_id: str) -> bool:
        lease = self._leases.pop(request_id, None)
        if lease is None:
            return False
        lease.timer.cancel()
        self._pool.release(lease.blocks)
        if not self._leases:
            self.empty.set()
        return True


class SideChannel:
    """The prefill engine's end."""

    def __init__(self, engine_id: str, pool: BlockPool, held: HeldBlocks) -> None:
        self._engine_id, self._pool, self._held = engine_id, pool, held
        self._connections: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_LINE_BYTES)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._connections):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while line := await reader.readline():
                writer.write(orjson.dumps(self._answer(orjson.loads(line))) + b"\n")
                await writer.drain()
        except (OSError, ValueError, KeyError):
            pass  # a peer that died or speaks something else: hang up
        finally:
            self._connections.discard(writer)
            writer.close()

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        match message["op"]:
            case "hello":
                return {"engine_id": self._engine_id, "tp_size": TP_SIZE}
            case "read":
                contents = [self._pool.content(number) for number in message["blocks"]]
                if None in contents:
                    return {"error": "no such block"}
                return {"contents": [content.hex() for content in contents if content is not None]}
            case "done":
                self._held.done(message["request_id"])
            case "beat":
                self._held.renew(message["request_id"])
            case other:
                return {"error": f"unknown operation {other}"}
        return {}


class Peer:
    """One connection to another engine's side channel; one question at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._turn = asyncio.Lock()

    async def ask(self, **message: Any) -> dict[str, Any]:
        """Waits as long as the connection lives, as vLLM does. Raises TransferError when it breaks."""
        async with self._turn:
            try:
                self._writer.write(orjson.dumps(message) + b"\n")
                line = await self._reader.readline()
            except OSError as error:
                raise TransferError(f"the prefill engine is gone: {error}") from None
            except asyncio.CancelledError:
                self._writer.close()  # its answer would be taken for the next one's
                raise
        if not line:
            raise TransferError("the prefill engine hung up")
        answer: dict[str, Any] = orjson.loads(line)
        if "error" in answer:
            raise TransferError(answer["error"])
        return answer

    @property
    def usable(self) -> bool:
        return not self._writer.is_closing() and not self._reader.at_eof()

    def close(self) -> None:
        self._writer.close()


class KVFetcher:
    """The decode engine's end: handshakes once per prefill engine, then reads."""

    def __init__(self, engine_id: str) -> None:
        self._engine_id = engine_id
        self._peers: dict[str, Peer] = {}
        self._handshakes: dict[str, asyncio.Lock] = {}
        self._broken: set[str] = (
            set()
        )  # engines whose tensor parallel size was once given wrongly: lost until restart

    async def fetch(self, remote: RemotePrefill, block_ids: Sequence[int]) -> list[bytes]:
        """The contents of P's blocks. Raises TransferError."""
        peer = await self._peer(remote)
        answer = await peer.ask(op="read", request_id=remote.request_id, blocks=list(block_ids))
        return [bytes.fromhex(content) for content in answer["contents"]]

    async def done(self, remote: RemotePrefill) -> None:
        with contextlib.suppress(TransferError):
            await (await self._peer(remote)).ask(op="done", request_id=remote.request_id)

    async def beat(self, remote: RemotePrefill) -> None:
        with contextlib.suppress(TransferError):
            await (await self._peer(remote)).ask(op="beat", request_id=remote.request_id)

    def close(self) -> None:
        for peer in self._peers.values():
            peer.close()

    async def _peer(self, remote: RemotePrefill) -> Peer:
        if remote.engine_id == self._engine_id:
            raise TransferError("cannot register the local engine as a remote one")
        if remote.tp_size != TP_SIZE:
            self._broken.add(remote.engine_id)
        if remote.engine_id in self._broken:
            raise TransferError("tensor parallel size of the remote engine does not match")
        async with self._handshakes.setdefault(remote.engine_id, asyncio.Lock()):
            peer = self._peers.get(remote.engine_id)
            if peer is None:
                peer = self._peers[remote.engine_id] = await _handshake(remote)
            elif not peer.usable:
                raise TransferError("the prefill engine is gone")
            return peer


async def _handshake(remote: RemotePrefill) -> Peer:
    """Connect and check who answers. A closed port is tried again until the limit, as ZMQ does."""
    try:
        async with asyncio.timeout(HANDSHAKE_LIMIT_S):
            while True:
                try:
                    peer = Peer(
                        *await asyncio.open_connection(remote.host, remote.port, limit=MAX_LINE_BYTES)
                    )
                    answer = await peer.ask(op="hello")
                    break
                except (OSError, TransferError):
                    await asyncio.sleep(RETRY_S)
    except TimeoutError:
        raise TransferError(f"no answer from {remote.host}:{remote.port} in {HANDSHAKE_LIMIT_S} s") from None
    if answer["engine_id"] != remote.engine_id:
        peer.close()
        raise TransferError(
            f"engine ID mismatch: {remote.engine_id} expected, {answer['engine_id']} answered"
        )
    return peer
