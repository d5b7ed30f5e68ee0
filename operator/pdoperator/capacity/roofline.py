"""Roofline latencies: what compute and memory bandwidth allow at best.

The counting of FLOP and bytes is that of PD-Disaggregation-Eval's `analytics.py`, batch 1 for prefill.
"""

from __future__ import annotations

from pdoperator.capacity.datasheets import GpuSheet, ModelSheet

# Activations that a prefill moves: 4 tensors of 16-bit values per layer, token and hidden unit.
ACTIVATION_BYTES = 2 * 4


def prefill_flops(model: ModelSheet, isl_tokens: float) -> float:
    """F(L) = n (8 L h^2 + 2 L^2 h + 6 L h ff)."""
    h = model.hidden
    return model.layers * (8 * isl_tokens * h**2 + 2 * isl_tokens**2 * h + 6 * isl_tokens * h * model.ffn)


def prefill_bytes(model: ModelSheet, isl_tokens: float) -> float:
    """M(L) = W + 8 n L h."""
    return model.weight_bytes + model.layers * isl_tokens * model.hidden * ACTIVATION_BYTES


def arithmetic_intensity(model: ModelSheet, isl_tokens: float) -> float:
    """FLOP per byte of a prefill; below the GPU's ridge it is memory-bound."""
    return prefill_flops(model, isl_tokens) / prefill_bytes(model, isl_tokens)


def prefill_s(model: ModelSheet, gpu: GpuSheet, isl_tokens: float) -> float:
    """t_p: seconds to prefill one prompt, the longer of computing and of moving bytes."""
    return max(
        prefill_flops(model, isl_tokens) / gpu.flops, prefill_bytes(model, isl_tokens) / gpu.bytes_per_s
    )


def decode_flops_per_token(model: ModelSheet, context_tokens: float) -> float:
    """FLOP of one token at this context: the derivative of F."""
    h = model.hidden
    return model.layers * (8 * h**2 + 4 * context_tokens * h + 6 * h * model.ffn)


def decode_step_s(model: ModelSheet, gpu: GpuSheet, batch: float, context_tokens: float) -> float:
    """Seconds of one decode step: every weight and the KV of every sequence are read once."""
    moved = model.weight_bytes + batch * context_tokens * model.kv_bytes_per_token
    return max(
        batch * decode_flops_per_token(model, context_tokens) / gpu.flops,
        moved / gpu.bytes_per_s,
    )


def transfer_s(model: ModelSheet, isl_tokens: float, link_bytes_per_s: float) -> float:
    """Seconds to move the KV cache of a prompt from prefill to decode."""
    return isl_tokens * model.kv_bytes_per_token / link_bytes_per_s
