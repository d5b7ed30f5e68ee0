"""What the operator tells the router, as JSON in a ConfigMap."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class EngineCosts(BaseModel):
    """What one engine can do, from its profile, in seconds and tokens: the terms of `capacity.Profile.step_s`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    pass_s: float
    latency_s: float  # of every call, without occupying the engine
    ttft_b: float
    ttft_c: float
    itl_a: float
    itl_b: float
    itl_c: float
    max_batch: int
    batched_tokens: int  # of one step
    kv_tokens: int
    transfer_s_per_token: float


class RouterConfig(BaseModel):
    """Settings of the routers of one service. Read again whenever the ConfigMap changes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    service: str
    served_name: str
    engine_port: int
    connect_timeout_s: float
    prefill_timeout_s: float
    request_timeout_s: float
    kv_lease_s: float
    ttft_target_s: float
    tpot_target_s: float
    local_prefill: bool = False
    prefix_caching: bool = True  # whether engines keep the KV of prompts for later ones
    deferral_s: float = (
        0.0  # how long a prompt that will miss the TTFT target lets others go first; 0: no order is set
    )
    costs: EngineCosts | None = (
        None  # None: not known; then work is compared in tokens and nothing is predicted
    )
