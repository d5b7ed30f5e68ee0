"""Several engines on one GPU by time-slicing: each gets its share, and a TPOT target may refuse it.

Time slices do not overlap, so while all engines work each is as many times slower as there are engines. The memory is
split too, and every engine keeps weights of its own. (MIG does not serve here: CUDA IPC between slices is blocked, and
with it NIXL's transfer.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pdoperator.capacity.profile import Fit, Profile


class SharingRefusedError(ValueError):
    """The GPU cannot be shared by so many engines; the message says what stands in the way."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What an engine keeps in GPU memory: its weights, and KV per token; bytes."""

    weight_bytes: float
    kv_bytes_per_token: float


def shared(profile: Profile, engines: int, footprint: Footprint) -> Profile:
    """The profile of one of `engines` on a GPU on which an engine that is alone has `profile`.

    Latencies are those with all engines busy. Raises SharingRefusedError when no KV fits beside the weights.
    """
    if engines < 1:
        raise ValueError(f"a GPU is shared by at least one engine, got {engines}")
    alone_bytes = footprint.weight_bytes + profile.kv_tokens * footprint.kv_bytes_per_token
    kv_tokens = int((alone_bytes / engines - footprint.weight_bytes) / footprint.kv_bytes_per_token)
    if kv_tokens < 1:
        raise SharingRefusedError(
            f"1/{engines} of the GPU's memory is {alone_bytes / engines / 1e9:.1f} GB, which leaves no room for KV "
            f"beside {footprint.weight_bytes / 1e9:.1f} GB of weights"
        )
    pass_s, ttft, itl = profile.measured_pass_s, profile.ttft_table, profile.itl_table
    return replace(
        profile,
        ttft=_slower(profile.ttft, engines),
        itl=_slower(profile.itl, engines),
        kv_tokens=kv_tokens,
        measured_pass_s=None if pass_s is None else pass_s * engines,
        ttft_table=None if ttft is None else ttft.slower(engines),
        itl_table=None if itl is None else itl.slower(engines),
    )


def check_tpot(profile: Profile, context_tokens: float, tpot_target_s: float) -> None:
    """Raise SharingRefusedError when even a sequence that is alone on the shared engine misses the target."""
    alone_s = profile.itl_s(1, context_tokens)
    if alone_s > tpot_target_s:
        raise SharingRefusedError(
            f"with all engines of the GPU busy a sequence that is alone takes {alone_s * 1e3:.1f} ms per token, and "
            f"the TPOT target is {tpot_target_s * 1e3:.1f} ms; share it less or give each engine a GPU"
        )


def _slower(fit: Fit, times: int) -> Fit:
    return Fit(fit.a * times, fit.b * times, fit.c * times)
