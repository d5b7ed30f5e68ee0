"""Data sheets: dimensions of models, peaks of GPUs, rates of interconnects. Numbers as their makers publish them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")

BYTES_PER_WEIGHT = 2  # FP16 and BF16


@dataclass(frozen=True, slots=True)
class ModelSheet:
    """A dense decoder with a gated FFN, grouped-query attention and 16-bit weights and KV."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int

    @property
    def kv_bytes_per_token(self) -> int:
        """KV cache of one token: K and V of every layer."""
        return 2 * self.layers * self.kv_heads * self.head_dim * BYTES_PER_WEIGHT

    @property
    def weight_bytes(self) -> int:
        """Weights of all layers: attention and FFN. Embeddings are left out, as a step reads only rows of them."""
        attention = self.hidden * (2 * self.kv_heads + self.heads) * self.head_dim
        output = self.hidden * self.heads * self.head_dim
        return self.layers * (attention + output + 3 * self.hidden * self.ffn) * BYTES_PER_WEIGHT


@dataclass(frozen=True, slots=True)
class GpuSheet:
    """One GPU: dense 16-bit peak in FLOP/s, memory bandwidth in bytes/s, memory in bytes."""

    flops: float
    bytes_per_s: float
    memory_bytes: float

    @property
    def ridge(self) -> float:
        """FLOP per byte above which compute limits and below which memory does."""
        return self.flops / self.bytes_per_s

    def derated(self, compute: float) -> GpuSheet:
        """The same GPU where only this share (0 to 1) of the peak FLOP/s is reached."""
        return replace(self, flops=self.flops * compute)

    def times(self, gpus: int) -> GpuSheet:
        """So many GPUs as one, with tensor parallelism that costs nothing: an upper bound."""
        return GpuSheet(self.flops * gpus, self.bytes_per_s * gpus, self.memory_bytes * gpus)


class UnknownNameError(ValueError):
    """There is no data sheet of that name."""

    def __init__(self, kind: str, name: str, known: Mapping[str, object]) -> None:
        spelling = {key.lower(): key for key in known}
        near = [key for key in spelling if name and name.lower() in key] or difflib.get_close_matches(
            name.lower(), spelling, n=3
        )
        guesses = " or ".join(spelling[key] for key in near)
        hint = f"did you mean {guesses}?" if near else f"known: {', '.join(sorted(known))}"
        super().__init__(f"no {kind} is called {name!r}; {hint}")


def sheet(kind: str, name: str, known: Mapping[str, T]) -> T:
    """The sheet of that name, whatever its case. Raises UnknownNameError with the near ones."""
    for key, value in known.items():
        if key.lower() == name.lower():
            return value
    raise UnknownNameError(kind, name, known)


# From the config.json of each model.
MODELS: dict[str, ModelSheet] = {
    "Qwen/Qwen2.5-0.5B-Instruct": ModelSheet(24, 896, 14, 2, 64, 4864),
    "Qwen/Qwen2.5-1.5B-Instruct": ModelSheet(28, 1536, 12, 2, 128, 8960),
    "Qwen/Qwen2.5-3B-Instruct": ModelSheet(36, 2048, 16, 2, 128, 11008),
    "Qwen/Qwen2.5-7B-Instruct": ModelSheet(28, 3584, 28, 4, 128, 18944),
    "Qwen/Qwen2.5-Coder-7B-Instruct": ModelSheet(28, 3584, 28, 4, 128, 18944),
    "Qwen/Qwen2.5-14B-Instruct": ModelSheet(48, 5120, 40, 8, 128, 13824),
    "Qwen/Qwen2.5-32B-Instruct": ModelSheet(64, 5120, 40, 8, 128, 27648),
    "Qwen/Qwen2.5-72B-Instruct": ModelSheet(80, 8192, 64, 8, 128, 29568),
    "Qwen/Qwen3-8B": ModelSheet(36, 4096, 32, 8, 128, 12288),
    "Qwen/Qwen3-14B": ModelSheet(40, 5120, 40, 8, 128, 17408),
    "Qwen/Qwen3-32B": ModelSheet(64, 5120, 64, 8, 128, 25600),
    "meta-llama/Llama-3.1-8B-Instruct": ModelSheet(32, 4096, 32, 8, 128, 14336),
    "meta-llama/Llama-3.1-70B-Instruct": ModelSheet(80, 8192, 64, 8, 128, 28672),
    "meta-llama/Llama-3.3-70B-Instruct": ModelSheet(80, 8192, 64, 8, 128, 28672),
    "mistralai/Mistral-7B-Instruct-v0.3": ModelSheet(32, 4096, 32, 8, 128, 14336),
}

# NVIDIA's data sheets, dense BF16 (theirs are often with sparsity, twice as high). `a100-80gb` has the bandwidth that
# PD-Disaggregation-Eval gives it, so that its table can be repeated; NVIDIA states it for the 40 GB card.
GPUS: dict[str, GpuSheet] = {
    "a100-80gb": GpuSheet(312e12, 1555e9, 80e9),
    "a100-40gb": GpuSheet(312e12, 1555e9, 40e9),
    "a100-sxm-80gb": GpuSheet(312e12, 2039e9, 80e9),
    "a10": GpuSheet(125e12, 600e9, 24e9),
    "l4": GpuSheet(121e12, 300e9, 24e9),
    "l40s": GpuSheet(362e12, 864e9, 48e9),
    "h100-sxm": GpuSheet(989e12, 3350e9, 80e9),
    "h200-sxm": GpuSheet(989e12, 4800e9, 141e9),
    "gh200-96gb": GpuSheet(989e12, 4000e9, 96e9),
    "gh200-144gb": GpuSheet(989e12, 4900e9, 144e9),
    "b200": GpuSheet(2250e12, 8000e9, 180e9),
}

# Bytes per second. NVLink as NVIDIA counts it, both directions together; one direction has half.
INTERCONNECTS: dict[str, float] = {
    "nvlink": 600e9,  # NVLink 3, A100; the figure of PD-Disaggregation-Eval
    "nvlink4": 900e9,  # H100, H200
    "nvlink5": 1800e9,  # B200
    "pcie": 32e9,  # PCIe 4.0 x16; the figure of PD-Disaggregation-Eval
    "pcie5": 64e9,
    "ethernet-25g": 3.125e9,
    "ethernet-100g": 12.5e9,
    "infiniband-200g": 25e9,
    "infiniband-400g": 50e9,
}
