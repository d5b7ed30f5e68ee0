"""When does disaggregation pay? PD-Disaggregation-Eval's closed form, which ignores that it takes a second GPU."""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.capacity import roofline
from pdoperator.capacity.datasheets import GpuSheet, ModelSheet

HOP_S = 0.005  # the proxy's hop, as the source assumes it
MAX_UTILISATION = 0.99  # the source caps rho here: a gain that shows only above it is none


@dataclass(frozen=True, slots=True)
class BreakEven:
    """One ISL: the latencies, and the request rate above which disaggregation pays; None is never."""

    isl: float
    prefill_s: float
    transfer_s: float
    qps: float | None


def break_even(
    model: ModelSheet, gpu: GpuSheet, link_bytes_per_s: float, isl_tokens: float, hop_s: float = HOP_S
) -> BreakEven:
    """QPS* = rho*/t_p with rho* = overhead / (t_p + overhead), where the overhead is the transfer and the hop.

    There the M/M/1 wait of prefills on one colocated GPU, t_p rho/(1-rho), equals what disaggregation adds.
    """
    t_p = roofline.prefill_s(model, gpu, isl_tokens)
    transfer = roofline.transfer_s(model, isl_tokens, link_bytes_per_s)
    overhead = transfer + hop_s
    rho = overhead / (t_p + overhead)
    return BreakEven(isl_tokens, t_p, transfer, rho / t_p if rho < MAX_UTILISATION else None)
