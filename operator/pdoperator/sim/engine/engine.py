"""One simulated engine: batching, KV pool, transfers and metrics put together, and its life until drained or dead."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from enum import Enum
from typing import Any

from pdoperator.sim.engine.args import EngineConfig
from pdoperator.sim.engine.batch import Batcher
from pdoperator.sim.engine.kv import BlockPool
from pdoperator.sim.engine.metrics import EngineMetrics
from pdoperator.sim.engine.sequence import RemotePrefill, Sequence
from pdoperator.sim.engine.transfer import EngineFault, HeldBlocks, KVFetcher, SideChannel, TransferError

log = logging.getLogger(__name__)

BEATS_PER_LEASE = 6
REQUIRED_REMOTE_FIELDS = (
    "remote_engine_id",
    "remote_request_id",
    "remote_host",
    "remote_port",
    "remote_block_ids",
)


class Life(Enum):
    RUNNING = "running"
    DRAINING = "draining"
    DEAD = "dead"


class Engine:
    """Must be made inside a running event loop."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.engine_id = str(uuid.uuid4())
        self.life = Life.RUNNING
        self.died = asyncio.Event()
        block_count = max(1, config.profile.kv_tokens // config.block_size)
        self.max_model_len = min(config.max_model_len, block_count * config.block_size)
        self._pool = BlockPool(block_count)
        self.metrics = EngineMetrics(
            config.served_names[0],
            self.max_model_len,
            config.block_size,
            block_count,
            prefix_caching=config.prefix_caching,
        )
        self._held = HeldBlocks(self._pool, self.metrics, config.lease_s)
        self._fetcher = KVFetcher(self.engine_id)
        self._side_channel = SideChannel(self.engine_id, self._pool, self._held)
        self._batcher = Batcher(config, self._pool, self.metrics, self._start_fetch, self._hold)
        self._admitted: dict[Sequence, asyncio.Event] = {}
        self._link_free_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch_gauges()

    def _watch_gauges(self) -> None:
        batcher, watch = self._batcher, self.metrics.watch
        waiting = "Requests waiting to be processed."
        watch("num_requests_running", "Requests in model execution batches.", lambda: len(batcher.running))
        watch("num_requests_waiting", waiting, lambda: batcher.in_flight - len(batcher.running))
        by_reason = "num_requests_waiting_by_reason"
        watch(by_reason, "Waiting requests by reason.", lambda: len(batcher.waiting), reason="capacity")
        watch(by_reason, "", lambda: len(batcher.fetching) + len(batcher.ready), reason="deferred")
        by_stage = "num_requests_kv_fetch_by_stage"
        remote = lambda: sum(seq.remote is not None for seq in batcher.waiting)  # noqa: E731
        watch(by_stage, "Waiting requests by KV load stage.", remote, stage="waiting_to_start")
        watch(by_stage, "", lambda: len(batcher.fetching), stage="in_progress")
        watch(by_stage, "", lambda: len(batcher.ready), stage="completed_waiting")
        watch("kv_cache_usage_perc", "KV cache usage, 1 is full.", lambda: self._pool.usage)

    async def start(self) -> None:
        """Raises OSError when the side channel's port is taken."""
        if self.config.nixl:
            await self._side_channel.start(self.config.side_channel_host, self.config.side_channel_port)
        self._spawn(self._batcher.run())

    async def stop(self) -> None:
        self._batcher.abort_all("abort")
        for task in self._tasks:
            task.cancel()
        await self._side_channel.stop()
        self._fetcher.close()

    async def drain(self) -> None:
        """Finish what is in flight, wait until decode engines have read what is held, within the shutdown time-out."""
        if self.life is Life.RUNNING:
            self.life = Life.DRAINING
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.shutdown_timeout_s):
                await self._batcher.idle()
                await self._held.empty.wait()

    def submit(self, seq: Sequence, transfer: dict[str, Any] | None) -> Sequence:
        """Queue a request. While draining it ends at once with "abort", on a dead engine with "error"."""
        if self.life is not Life.RUNNING:
            seq.finish_reason = "abort" if self.life is Life.DRAINING else "error"
            return seq
        if transfer and self.config.nixl:
            seq.hold_for_remote = bool(transfer.get("do_remote_decode"))
            if transfer.get("do_remote_prefill"):
                try:
                    seq.remote = self._remote_prefill(seq, transfer)
                except EngineFault as fault:
                    self.die(str(fault))
                    seq.finish_reason = "error"
                    return seq
        if seq.remote is not None:
            self._admitted[seq] = asyncio.Event()
            self._spawn(self._bring(seq, seq.remote))
        self._batcher.submit(seq)
        return seq

    def abort(self, seq: Sequence) -> None:
        self._batcher.abort(seq)

    def rejection(self, prompt_tokens: int) -> str | None:
        """The queue limit that one more request would exceed, None when it may come in."""
        config, reason = self.config, None
        if config.max_num_queued_reqs is not None and self._batcher.in_flight >= config.max_num_queued_reqs:
            reason = "max_num_queued_reqs"
        elif config.max_num_queued_tokens is not None:
            queued = self._batcher.queued_tokens
            if queued and queued + prompt_tokens > config.max_num_queued_tokens:
                reason = "max_num_queued_tokens"
        if reason:
            self.metrics.rejected(reason)
        return reason

    def die(self, why: str) -> None:
        """What a failed assertion in the core does: all in flight fails, /health turns 503, the process ends."""
        log.error("EngineCore encountered a fatal error: %s", why)
        self.life = Life.DEAD
        self._batcher.abort_all("error")
        self.died.set()

    def transfer_params(self, seq: Sequence) -> dict[str, Any] | None:
        """What the decode request has to carry, None for a request that no decode engine will fetch."""
        if not seq.hold_for_remote or seq.finish_reason != "length":
            return None
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": [[block.number for block in seq.blocks]],
            "remote_engine_id": self.engine_id,
            "remote_request_id": seq.request_id,
            "remote_host": self.config.side_channel_host,
            "remote_port": self.config.side_channel_port,
            "tp_size": 1,
            "dcp_size": 1,
            "pp_size": 1,
            "remote_num_tokens": len(seq.prompt),
            "remote_blocks_expiry_time": None,
            "transfer_mode": "pull",
            "remote_prefill_cached_tokens": seq.cached_tokens,
        }

    def _hold(self, seq: Sequence) -> None:
        self._held.hold(seq.request_id, list(seq.blocks))

    def _remote_prefill(self, seq: Sequence, transfer: dict[str, Any]) -> RemotePrefill:
        if any(transfer.get(name) is None for name in REQUIRED_REMOTE_FIELDS):
            raise EngineFault("assert num_external_tokens == 0")
        block_ids = tuple(int(number) for group in transfer["remote_block_ids"] for number in group)
        if len(block_ids) < len(seq.digests):
            raise EngineFault("assert num_decode_blocks <= len(prefill_group)")
        return RemotePrefill(
            engine_id=str(transfer["remote_engine_id"]),
            request_id=str(transfer["remote_request_id"]),
            host=str(transfer["remote_host"]),
            port=int(transfer["remote_port"]),
            block_ids=block_ids[: len(seq.digests)],
            tp_size=int(transfer.get("tp_size") or 1),
        )

    def _start_fetch(self, seq: Sequence) -> None:
        self._admitted[seq].set()

    async def _bring(self, seq: Sequence, remote: RemotePrefill) -> None:
        """From the decode request's arrival until its KV is here: keep the lease alive, read, tell P to free."""
        try:
            await self._wait_for_room(seq, remote)
            if seq.finish_reason is None:
                started_s = asyncio.get_running_loop().time()
                contents = await self._fetcher.fetch(remote, remote.block_ids[seq.sealed :])
                await self._occupy_link(len(seq.prompt) - seq.computed)
                self._count_transfer(
                    len(seq.prompt) - seq.computed, asyncio.get_running_loop().time() - started_s
                )
                self._batcher.fetched(seq, contents)
            await self._fetcher.done(remote)
        except TransferError as error:
            log.error("KV transfer for %s failed: %s", seq.request_id, error)
            self.metrics.failed_transfers.inc()
            self._batcher.fetch_failed(seq)
        finally:
            self._admitted.pop(seq, None)

    async def _wait_for_room(self, seq: Sequence, remote: RemotePrefill) -> None:
        admitted = self._admitted[seq]
        while not admitted.is_set() and seq.finish_reason is None:
            try:
                await asyncio.wait_for(admitted.wait(), self.config.lease_s / BEATS_PER_LEASE)
            except TimeoutError:
                await self._fetcher.beat(remote)

    async def _occupy_link(self, tokens: int) -> None:
        """Transfers into this engine share its link: one after the other."""
        now = asyncio.get_running_loop().time()
        duration_s = self.config.profile.transfer_s(tokens) / self.config.speed
        self._link_free_s = max(now, self._link_free_s) + duration_s
        if self._link_free_s > now:
            await asyncio.sleep(self._link_free_s - now)

    def _count_transfer(self, tokens: int, duration_s: float) -> None:
        blocks = -(-tokens // self.config.block_size)
        self.metrics.xfer_time.observe(duration_s)
        self.metrics.xfer_bytes.observe(
            blocks * self.config.block_size * self.config.profile.kv_bytes_per_token
        )
        self.metrics.xfer_descriptors.observe(blocks)

    def _spawn(self, coroutine: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("simulated engine failed", exc_info=task.exception())
            self.die(repr(task.exception()))
