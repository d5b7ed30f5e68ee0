"""The command line of ``vllm serve``, as far as it changes what a client sees. Other flags are accepted and logged."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pdoperator.sim.engine.profile import SimProfile, load_profile

DEFAULT_LEASE_S = 30.0


@dataclass(frozen=True)
class EngineConfig:
    """Everything one simulated engine is told at its start."""

    model: str
    served_names: tuple[str, ...]
    host: str
    port: int
    profile: SimProfile
    speed: float  # all simulated durations are divided by it
    startup_s: float
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_num_queued_reqs: int | None
    max_num_queued_tokens: int | None
    block_size: int
    prefix_caching: bool
    by_priority: bool  # else first come, first served
    shutdown_timeout_s: float
    nixl: bool
    recompute_on_load_failure: bool
    lease_s: float
    side_channel_host: str
    side_channel_port: int
    ignored: tuple[str, ...] = ()


def parse_config(argv: Sequence[str], env: Mapping[str, str] = os.environ) -> EngineConfig:
    """``argv`` without the program's name: ``serve MODEL --flags``. Exits with code 2 on a value without sense."""
    parser = _parser()
    options, ignored = parser.parse_known_args(list(argv))
    try:
        profile = load_profile(options.sim_profile or env.get("PD_SIM_PROFILE") or "cpu-tiny")
        transfer = json.loads(options.kv_transfer_config) if options.kv_transfer_config else {}
        startup_s = float(env.get("PD_SIM_STARTUP_S") or profile.startup_s)
        speed = float(env.get("PD_SIM_SPEED") or 1.0)
    except ValueError as error:
        parser.error(str(error))
    if speed <= 0:
        parser.error("PD_SIM_SPEED must be above 0")
    model = options.model or options.model_flag
    if not model:
        parser.error("which model? pd-sim-engine serve MODEL")
    extra: dict[str, Any] = transfer.get("kv_connector_extra_config") or {}
    return EngineConfig(
        model=model,
        served_names=tuple(options.served_model_name or [model]),
        host=options.host or "0.0.0.0",  # as vLLM: every address unless told
        port=options.port,
        profile=profile,
        speed=speed,
        startup_s=startup_s,
        max_model_len=min(options.max_model_len, profile.kv_tokens),
        max_num_seqs=options.max_num_seqs,
        max_num_batched_tokens=options.max_num_batched_tokens,
        max_num_queued_reqs=options.max_num_queued_reqs,
        max_num_queued_tokens=options.max_num_queued_tokens,
        block_size=options.block_size,
        prefix_caching=options.enable_prefix_caching,
        by_priority=options.scheduling_policy == "priority",
        shutdown_timeout_s=options.shutdown_timeout,
        nixl=str(transfer.get("kv_connector", "")).startswith("Nixl"),
        recompute_on_load_failure=transfer.get("kv_load_failure_policy", "fail") == "recompute",
        lease_s=float(extra.get("kv_lease_duration", DEFAULT_LEASE_S)),
        side_channel_host=env.get("VLLM_NIXL_SIDE_CHANNEL_HOST") or "localhost",
        side_channel_port=int(env.get("VLLM_NIXL_SIDE_CHANNEL_PORT") or 5600),
        ignored=tuple(ignored),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pd-sim-engine", description="Simulated vLLM engine.", allow_abbrev=False
    )
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model", nargs="?")
    parser.add_argument("--model", dest="model_flag")
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-model-len", type=human_int, default=8192)
    parser.add_argument("--max-num-seqs", type=human_int, default=128)
    parser.add_argument("--max-num-batched-tokens", type=human_int, default=2048)
    parser.add_argument("--max-num-queued-reqs", type=int)
    parser.add_argument("--max-num-queued-tokens", type=human_int)
    parser.add_argument("--block-size", type=int, default=128)
    parser.add_argument("--enable-prefix-caching", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--scheduling-policy", choices=["fcfs", "priority"], default="fcfs")
    parser.add_argument("--shutdown-timeout", type=float, default=0.0)
    parser.add_argument("--kv-transfer-config")
    parser.add_argument("--sim-profile", help="built-in name, JSON object or JSON file (also PD_SIM_PROFILE)")
    return parser


def human_int(text: str) -> int:
    """vLLM's short forms of integers: 1k = 1000, 1K = 1024, and so on for m/M, g/G."""
    powers = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}
    if text and text[-1] in powers:
        return int(float(text[:-1]) * powers[text[-1]])
    return int(text)
