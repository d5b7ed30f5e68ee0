"""Metrics as routers and engines expose them."""

from __future__ import annotations

from collections.abc import Mapping


def router_text(
    admitted: float,
    inputs: tuple[float, float] = (0, 0),
    outputs: tuple[float, float] = (0, 0),
    tpots: tuple[float, float] = (0, 0),
    outstanding: Mapping[tuple[str, str], int] | None = None,
    roles: Mapping[str, str] | None = None,
    **more: float,
) -> str:
    """A router's metrics; histograms as (sum, count), outstanding by (engine, role), others by their names."""
    lines = ["# HELP pdrouter_requests_admitted_total Client requests accepted"]
    lines += [
        "# TYPE pdrouter_requests_admitted_total counter",
        f"pdrouter_requests_admitted_total {admitted}",
    ]
    named = {"request_input_tokens": inputs, "request_output_tokens": outputs, "tpot_seconds": tpots}
    for name, (total, count) in named.items():
        lines += [f"# TYPE pdrouter_{name} histogram", f'pdrouter_{name}_bucket{{le="+Inf"}} {count}']
        lines += [f"pdrouter_{name}_count {count}", f"pdrouter_{name}_sum {total}"]
    for (engine, role), count in (outstanding or {}).items():
        lines.append(f'pdrouter_outstanding_requests{{engine="{engine}",role="{role}"}} {count}')
    for engine, role in (roles or {}).items():
        labels = f'engine="{engine}",role="{role}",state="serving",revision="r1"'
        lines.append(f"pdrouter_engine_info{{{labels}}} 1.0")
    lines += [f"pdrouter_{name} {value}" for name, value in more.items()]
    return "\n".join(lines) + "\n"


def engine_text(
    running: float | str = 0,
    waiting: float | str = 0,
    kv_usage: float | str | None = 0.0,
    prefix: str = "vllm:",
    counters: Mapping[str, float] | None = None,
) -> str:
    """An engine's metrics among others that nobody asked for."""
    labels = '{engine="0",model_name="tiny"}'
    lines = [
        f"# HELP {prefix}num_requests_running Number of requests in model execution batches.",
        f"# TYPE {prefix}num_requests_running gauge",
        f"{prefix}num_requests_running{labels} {running}",
        f"# TYPE {prefix}num_requests_waiting gauge",
        f"{prefix}num_requests_waiting{labels} {waiting}",
        f'{prefix}num_requests_waiting_by_reason{{engine="0",model_name="tiny",reason="capacity"}} 5.0',
    ]
    if kv_usage is not None:
        lines += [
            f"# TYPE {prefix}kv_cache_usage_perc gauge",
            f"{prefix}kv_cache_usage_perc{labels} {kv_usage}",
        ]
    lines += [f"{prefix}{name}{labels} {value}" for name, value in (counters or {}).items()]
    return "\n".join(lines) + "\n"
