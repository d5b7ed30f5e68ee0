"""A vLLM plugin that lets several engines share a small machine. vLLM loads it in each of its processes.

Without it, on CPU, every engine burns a core while idle and all engines crowd onto the same core:

* NIXL's Python layer asks for a UCX progress thread without any pause between polls. The thread stays (the
  target of a TCP read needs it), but pauses ``PD_NIXL_PROGRESS_DELAY_US`` microseconds (default 1000) between polls.
* The NIXL connector pins each worker to the last core of the machine's NUMA node. ``PD_NIXL_PIN=1`` keeps that.
"""

from __future__ import annotations

import os
from typing import Any


def register() -> None:
    """Entry point of the group ``vllm.general_plugins``. May be called several times in one process."""
    os.environ.setdefault("UCX_RCACHE_MAX_UNRELEASED", "1024")
    if os.environ.get("PD_NIXL_PIN") != "1":
        _leave_threads_unpinned()
    delay_us = int(os.environ.get("PD_NIXL_PROGRESS_DELAY_US", "1000"))
    if delay_us > 0:
        _pause_progress_thread(delay_us)


def _leave_threads_unpinned() -> None:
    from vllm.platforms.cpu import CpuPlatform

    CpuPlatform.discover_numa_topology = classmethod(lambda cls: [])


def _pause_progress_thread(delay_us: int) -> None:
    try:
        import nixl._api as nixl_api
    except ImportError:  # an engine without the NIXL connector
        return
    bindings: Any = nixl_api.nixlBind
    stock: Any = bindings.nixlAgentConfig
    if getattr(stock, "pauses_progress_thread", False):
        return

    class PausingAgentConfig(stock):  # type: ignore[misc]
        """NIXL's agent configuration, deaf to the pause of 0 that nixl._api sets on every agent."""

        pauses_progress_thread = True

        @property
        def pthrDelay(self) -> int:
            return int(stock.pthrDelay.__get__(self))

        @pthrDelay.setter
        def pthrDelay(self, _ignored: int) -> None:
            stock.pthrDelay.__set__(self, delay_us)

    bindings.nixlAgentConfig = PausingAgentConfig
