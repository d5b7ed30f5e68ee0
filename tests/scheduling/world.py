"""Small fleets and what is known of their engines, for tests of picking."""

from __future__ import annotations

from typing import Any

from pdoperator.api.names import Role, State
from pdoperator.api.router_config import EngineCosts, RouterConfig
from pdoperator.scheduling.engines import Engine, Table, build_table
from pdoperator.scheduling.prefixes import Prompt

NOW_S = 100.0
PROMPT = Prompt(100)  # in nobody's cache

# 1 ms a prompt token, steps of 10 ms and 1 ms a sequence and 1 us a token of context; a call costs 20 ms besides.
COSTS = EngineCosts(
    pass_s=0.0, latency_s=0.02, ttft_b=1e-3, ttft_c=0.0, itl_a=0.01, itl_b=1e-3, itl_c=1e-6,
    max_batch=256, batched_tokens=2048, kv_tokens=100_000, transfer_s_per_token=0.0,
)  # fmt: skip


def config(**changes: Any) -> RouterConfig:
    """Settings with the engines' costs, local prefill allowed."""
    facts = {
        "service": "svc", "served_name": "tiny", "engine_port": 8000, "connect_timeout_s": 1.0,
        "prefill_timeout_s": 1.0, "request_timeout_s": 1.0, "kv_lease_s": 30.0, "ttft_target_s": 2.0,
        "tpot_target_s": 0.08, "local_prefill": True, "costs": COSTS,
    }  # fmt: skip
    return RouterConfig.model_validate({**facts, **changes})


CONFIG = config()
BLIND = config(costs=None)  # nothing is known of the engines


def engine(name: str, role: Role, revision: str = "r1", **more: object) -> Engine:
    """One that serves."""
    facts: dict[str, object] = {"address": "10.0.0.1:8000", "state": State.SERVING, "ready": True, **more}
    return Engine(name=name, role=role, revision=revision, **facts)  # type: ignore[arg-type]


def table(*engines: Engine) -> Table:
    """The routing table of these."""
    return build_table(engines)


P1, P2 = engine("p1", Role.PREFILL), engine("p2", Role.PREFILL)
D1, D2 = engine("d1", Role.DECODE), engine("d2", Role.DECODE)
B1 = engine("b1", Role.BOTH)
