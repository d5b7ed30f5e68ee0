"""Profiles that ship with the package, named gpu-model-dtype-tpN, and which of them a service uses."""

from __future__ import annotations

from enum import StrEnum

from pdoperator.api.spec import Hardware, Preset
from pdoperator.capacity.datasheets import INTERCONNECTS, MODELS
from pdoperator.capacity.profile import Fit, Profile

# Between machines: DGX H100, H200 and B200 have one ConnectX-7 of 400 Gb/s a GPU (their data sheets); within one NVLink
# would be nine times as fast, so this is the safe side. KV is 16 bits a value: vLLM's `--kv-cache-dtype auto` takes the
# model's type, which is BF16 for the FP8 checkpoints too.
NIC_BYTES_PER_S = INTERCONNECTS["infiniband-400g"]
# vLLM 0.32 for its server, by the GPU's memory (EngineArgs.get_batch_defaults).
BATCHED_TOKENS = {"h100": 8192, "h200": 8192, "b200": 16384}


def _gpu(gpu: str, model: str, gpus: int, ttft: Fit, itl: Fit, kv_tokens: int, max_batch: int) -> Profile:
    """An engine of this model on so many GPUs, in the surroundings that data sheets give."""
    return Profile(
        ttft, itl, kv_tokens, max_batch,
        gpus_per_replica=gpus,
        kv_bytes_per_token=MODELS[model].kv_bytes_per_token,
        link_bytes_per_s=NIC_BYTES_PER_S * gpus,
        batched_tokens=BATCHED_TOKENS[gpu],
    )  # fmt: skip


# The GPU profiles are least-squares fits (on relative error, by this project) to the planner's pre-swept results of
# NVIDIA Dynamo: github.com/ai-dynamo/dynamo, planner `pre_swept_results/**/{prefill,decode}.npz`, vLLM 0.10.1.1,
# Copyright NVIDIA CORPORATION & AFFILIATES, licensed under Apache-2.0. `kv_tokens` is the `max_kv_tokens` those files
# state. For the 70B they state one value for every TP; it belongs to TP 2, so at TP 4 it errs on the safe side.
# `max_batch` is the largest batch within which the fit was measured and the engine did not queue.
MEASURED: dict[str, Profile] = {
    "h200-llama-3.1-8b-fp8-tp1": _gpu(
        "h200",
        "meta-llama/Llama-3.1-8B-Instruct",
        1,
        Fit(a=0.01855, b=1.41098e-5, c=4.91896e-10),
        Fit(a=0.00438754, b=3.85107e-5, c=2.93173e-8),
        kv_tokens=945029,
        max_batch=787,
    ),
    "h100-llama-3.3-70b-fp8-tp4": _gpu(
        "h100",
        "meta-llama/Llama-3.3-70B-Instruct",
        4,
        Fit(a=0.0186021, b=4.87975e-5, c=1.1128e-9),
        Fit(a=0.0108274, b=5.7756e-5, c=9.74066e-8),
        kv_tokens=224133,
        max_batch=346,
    ),
    "h100-llama-3.3-70b-fp8-tp2": _gpu(
        "h100",
        "meta-llama/Llama-3.3-70B-Instruct",
        2,
        Fit(a=0.0244037, b=8.05314e-5, c=2.28364e-9),
        Fit(a=0.014115, b=8.91262e-5, c=1.74136e-7),
        kv_tokens=224133,
        max_batch=323,
    ),
    "h100-llama-3.3-70b-fp8-tp8": _gpu(
        "h100",
        "meta-llama/Llama-3.3-70B-Instruct",
        8,
        Fit(a=0.0155904, b=3.46594e-5, c=3.81486e-10),
        Fit(a=0.0088833, b=5.02065e-5, c=5.92525e-8),
        kv_tokens=224133,
        max_batch=369,
    ),
    # The demo's model (34 M random weights, float32) under vLLM 0.32's CPU build on one shared core of an AMD EPYC,
    # measured by the forerunner of `pdctl profile`; `kv_tokens` is that of 256 MiB. In one process without
    # multiprocessing HTTP and engine share a thread, so the whole constant occupies it. On another day, on two cores,
    # `pdctl profile` saw ttft 0.0449, 9.27e-4, 4.7e-7, itl 0.0218, 1.25e-3, 1.06e-6 and a pass of 0.018 s. These stay:
    # the lab's engines simulate them, and its scenarios have their loads and targets set by them, so that with prompts
    # twice as slow the load of each scenario would have to be found anew.
    "cpu-tiny": Profile(
        ttft=Fit(a=0.059, b=4.2e-4, c=3.5e-7),
        itl=Fit(a=0.021, b=1.33e-3, c=6.9e-7),
        kv_tokens=16384,
        max_batch=16,
        batched_tokens=2048,
        kv_bytes_per_token=16384,
        measured_pass_s=0.059,
    ),
}

# Modelled by NVIDIA's aiconfigurator 0.12.0 (Apache-2.0) from kernels it measured for vLLM 0.24.0, not by running an
# engine: the prefill slope of the one model that was also measured is 18 % too low, and some 15 ms per prefill and
# 0.026 ms per sequence and decode step are missing. `kv_tokens` is what 90 % of the GPU's memory leaves beside what
# the same tool says weights and activations take; `max_batch` the largest batch it was asked for.
MODELLED: dict[str, Profile] = {
    "h100-llama-3.1-8b-bf16-tp1": _gpu(
        "h100",
        "meta-llama/Llama-3.1-8B-Instruct",
        1,
        Fit(a=0.00466828, b=1.74279e-05, c=5.22756e-10),
        Fit(a=0.00631757, b=1.2071e-05, c=4.14802e-08),
        kv_tokens=397000,
        max_batch=256,
    ),
    "h100-llama-3.1-8b-fp8-tp1": _gpu(
        "h100",
        "meta-llama/Llama-3.1-8B-Instruct",
        1,
        Fit(a=0.00357169, b=1.31969e-05, c=4.64089e-10),
        Fit(a=0.00440549, b=1.2056e-05, c=4.07219e-08),
        kv_tokens=450000,
        max_batch=256,
    ),
    "h200-llama-3.1-8b-bf16-tp1": _gpu(
        "h200",
        "meta-llama/Llama-3.1-8B-Instruct",
        1,
        Fit(a=0.00334166, b=1.80346e-05, c=5.19912e-10),
        Fit(a=0.00489248, b=1.23205e-05, c=2.93707e-08),
        kv_tokens=816000,
        max_batch=256,
    ),
    "b200-llama-3.1-8b-bf16-tp1": _gpu(
        "b200",
        "meta-llama/Llama-3.1-8B-Instruct",
        1,
        Fit(a=0.00288701, b=8.8033e-06, c=2.66464e-10),
        Fit(a=0.00335235, b=4.76132e-06, c=1.80453e-08),
        kv_tokens=1084000,
        max_batch=256,
    ),
    "h100-qwen3-32b-bf16-tp2": _gpu(
        "h100",
        "Qwen/Qwen3-32B",
        2,
        Fit(a=0.0115908, b=4.37497e-05, c=1.09373e-09),
        Fit(a=0.0135212, b=2.69512e-05, c=4.21443e-08),
        kv_tokens=267000,
        max_batch=256,
    ),
    "h200-qwen3-32b-bf16-tp2": _gpu(
        "h200",
        "Qwen/Qwen3-32B",
        2,
        Fit(a=0.00891417, b=4.4407e-05, c=1.08585e-09),
        Fit(a=0.0105761, b=2.57321e-05, c=2.98481e-08),
        kv_tokens=686000,
        max_batch=256,
    ),
    "h100-llama-3.1-70b-bf16-tp4": _gpu(
        "h100",
        "meta-llama/Llama-3.1-70B-Instruct",
        4,
        Fit(a=0.011674, b=5.65044e-05, c=6.97454e-10),
        Fit(a=0.0151975, b=3.22994e-05, c=2.64018e-08),
        kv_tokens=396000,
        max_batch=256,
    ),
    "h200-llama-3.1-70b-bf16-tp4": _gpu(
        "h200",
        "meta-llama/Llama-3.1-70B-Instruct",
        4,
        Fit(a=0.00849944, b=5.69594e-05, c=7.88011e-10),
        Fit(a=0.0122224, b=3.19555e-05, c=1.85519e-08),
        kv_tokens=1066000,
        max_batch=256,
    ),
    "h200-llama-3.1-70b-fp8-tp2": _gpu(
        "h200",
        "meta-llama/Llama-3.1-70B-Instruct",
        2,
        Fit(a=0.00965213, b=6.33454e-05, c=1.11808e-09),
        Fit(a=0.0138305, b=3.77433e-05, c=3.71757e-08),
        kv_tokens=527000,
        max_batch=256,
    ),
    "h200-llama-3.1-70b-fp8-tp4": _gpu(
        "h200",
        "meta-llama/Llama-3.1-70B-Instruct",
        4,
        Fit(a=0.00832575, b=4.25636e-05, c=4.72473e-10),
        Fit(a=0.00935986, b=3.50117e-05, c=1.86676e-08),
        kv_tokens=1275000,
        max_batch=256,
    ),
}

BUILTIN: dict[str, Profile] = MEASURED | MODELLED


class Grade(StrEnum):
    """How far a profile can be trusted."""

    MEASURED = "measured"
    MODELLED = "modelled"


def grade(name: str) -> Grade:
    """The evidence behind a built-in profile."""
    return Grade.MODELLED if name in MODELLED else Grade.MEASURED


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
