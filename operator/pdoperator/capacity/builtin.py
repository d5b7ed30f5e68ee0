"""Profiles that ship with the package, named gpu-model-dtype-tpN, and which of them a service uses."""

from __future__ import annotations

from pdoperator.api.spec import Hardware, Preset
from pdoperator.capacity.profile import Fit, Profile

# The GPU profiles are least-squares fits (on relative error, by this project) to the planner's pre-swept results of
# NVIDIA Dynamo: github.com/ai-dynamo/dynamo, planner `pre_swept_results/**/{prefill,decode}.npz`, vLLM 0.10.1.1,
# Copyright NVIDIA CORPORATION & AFFILIATES, licensed under Apache-2.0. `kv_tokens` is the `max_kv_tokens` those files
# state. For the 70B they state one value for every TP; it belongs to TP 2, so at TP 4 it errs on the safe side.
# `max_batch` is the largest batch within which the fit was measured and the engine did not queue.
BUILTIN: dict[str, Profile] = {
    "h200-llama-3.1-8b-fp8-tp1": Profile(
        ttft=Fit(a=0.01855, b=1.41098e-5, c=4.91896e-10),
        itl=Fit(a=0.00438754, b=3.85107e-5, c=2.93173e-8),
        kv_tokens=945029,
        max_batch=787,
    ),
    "h100-llama-3.3-70b-fp8-tp4": Profile(
        ttft=Fit(a=0.0186021, b=4.87975e-5, c=1.1128e-9),
        itl=Fit(a=0.0108274, b=5.7756e-5, c=9.74066e-8),
        kv_tokens=224133,
        max_batch=346,
    ),
    # The demo's model (34 M random weights, float32) under vLLM 0.32's CPU build on one shared core of an AMD EPYC,
    # measured by e2e/engine/measure.py; `kv_tokens` is that of 256 MiB.
    "cpu-tiny": Profile(
        ttft=Fit(a=0.059, b=4.2e-4, c=3.5e-7),
        itl=Fit(a=0.021, b=1.33e-3, c=6.9e-7),
        kv_tokens=16384,
        max_batch=16,
    ),
}

# No table of a GH200 is public; by bandwidth it decodes between an H100 and an H200, so the H200's is the nearest. The
# H100's is a larger model than many will serve: it asks for too many engines rather than too few.
PRESET_PROFILE: dict[Preset, str] = {
    Preset.GH200: "h200-llama-3.1-8b-fp8-tp1",
    Preset.H100: "h100-llama-3.3-70b-fp8-tp4",
    Preset.CPU: "cpu-tiny",
}


class UnknownProfileError(ValueError):
    """A spec names a profile that does not ship with the package."""

    def __init__(self, name: str) -> None:
        known = ", ".join(sorted(BUILTIN))
        super().__init__(
            f"spec.hardware.profile {name!r} is not a built-in profile; use one of {known}, or give inlineProfile"
        )


def profile_of(hardware: Hardware) -> Profile:
    """The service's profile: the inline one, else the named one, else the preset's.

    Raises UnknownProfileError for a name that is not built in, ValueError for an inline profile that cannot be.
    """
    if hardware.inline_profile is not None:
        return Profile.from_api(hardware.inline_profile)
    name = hardware.profile or PRESET_PROFILE[hardware.preset]
    if name not in BUILTIN:
        raise UnknownProfileError(name)
    return BUILTIN[name]
