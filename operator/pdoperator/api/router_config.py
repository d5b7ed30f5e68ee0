"""What the operator tells the router, as JSON in a ConfigMap."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


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
