"""Profiles: their form, what they refuse, which one a service gets."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdoperator.api.spec import Hardware, InlineProfile, LatencyFit, Preset
from pdoperator.capacity.builtin import BUILTIN, PRESET_PROFILE, UnknownProfileError, profile_of
from pdoperator.capacity.datasheets import GPUS
from pdoperator.capacity.profile import Chunk, Fit, Profile


def test_latencies_follow_the_fitted_form_in_seconds() -> None:
    profile = Profile(ttft=Fit(0.02, 1e-4, 1e-8), itl=Fit(0.01, 1e-4, 1e-7), kv_tokens=1000, max_batch=8)
    assert profile.ttft_s(1000) == pytest.approx(0.02 + 0.1 + 0.01)
    assert profile.itl_s(10, 500) == pytest.approx(0.01 + 0.001 + 0.0005)


@pytest.mark.parametrize(
    "coefficients", [(-1.0, 0.0, 0.0), (math.nan, 0.0, 0.0), (math.inf, 0.0, 0.0), (0.0, 0.0, 0.0)]
)
def test_a_latency_that_cannot_be_is_refused(coefficients: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="coefficient"):
        Fit(*coefficients)


@pytest.mark.parametrize(("kv_tokens", "max_batch"), [(0, 1), (1, 0)])
def test_an_engine_without_room_is_refused(kv_tokens: int, max_batch: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Profile(Fit(0.1), Fit(0.1), kv_tokens, max_batch)


ENGINE = Profile(Fit(0.020, 1e-5, 1e-9), Fit(0.005, 4e-5, 3e-8), kv_tokens=100_000, max_batch=64)
# Modelled profiles have no latency but that of the engine, and reach the weights' reading only by extrapolation.
FAST_PREFILL = replace(ENGINE, ttft=Fit(0.003, 1e-5, 1e-9))
MEASURED_PASS = replace(ENGINE, measured_pass_s=0.012)


@pytest.mark.parametrize(
    ("surroundings", "what"),
    [
        ({"gpus_per_replica": 0}, "gpus_per_replica must be at least 1"),
        ({"batched_tokens": 0}, "batched_tokens must be at least 1"),
        ({"startup_s": -1.0}, "startup_s must be finite"),
        ({"kv_bytes_per_token": math.nan}, "kv_bytes_per_token must be finite"),
        ({"link_bytes_per_s": 0.0}, "link_bytes_per_s must be above 0; leave it out"),
        ({"measured_pass_s": 0.021}, "longer than ttft.a"),
    ],
)
def test_surroundings_that_cannot_be_are_refused(surroundings: dict[str, float], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        replace(ENGINE, **surroundings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("profile", "pass_s", "latency_s"),
    [(ENGINE, 0.005, 0.015), (FAST_PREFILL, 0.003, 0.0), (MEASURED_PASS, 0.012, 0.008)],
)
def test_a_pass_that_was_not_measured_reads_the_weights_once_as_a_decode_step_does(
    profile: Profile, pass_s: float, latency_s: float
) -> None:
    assert profile.pass_s == pytest.approx(pass_s)
    assert profile.latency_s == pytest.approx(latency_s)


@pytest.mark.parametrize("profile", [ENGINE, FAST_PREFILL, MEASURED_PASS])
def test_a_step_of_one_kind_costs_what_was_measured(profile: Profile) -> None:
    assert profile.step_s(8, 8 * 700) == pytest.approx(profile.itl_s(8, 700))
    assert profile.step_s(0, 0, [Chunk(0, 900)]) + profile.latency_s == pytest.approx(profile.ttft_s(900))
    assert profile.step_s(0, 0) == 0


@pytest.mark.parametrize(
    ("profile", "constant_s"), [(ENGINE, 0.005), (FAST_PREFILL, 0.005), (MEASURED_PASS, 0.012)]
)
def test_a_mixed_step_reads_the_weights_once(profile: Profile, constant_s: float) -> None:
    mixed = profile.step_s(2, 100, [Chunk(0, 10), Chunk(50, 10)])
    decode = 2 * 4e-5 + 100 * 3e-8
    prefill = 20 * 1e-5 + 1e-9 * (10**2 + 60**2 - 50**2)
    assert mixed == pytest.approx(constant_s + decode + prefill)


@settings(deadline=None)
@given(cuts=st.lists(st.integers(1, 4095), max_size=6, unique=True).map(sorted))
def test_a_prompt_in_parts_costs_what_the_whole_costs_and_a_constant_more_for_each_step(
    cuts: list[int],
) -> None:
    edges = [0, *cuts, 4096]
    parts = [MEASURED_PASS.step_s(0, 0, [Chunk(a, b - a)]) for a, b in itertools.pairwise(edges)]
    whole = MEASURED_PASS.step_s(0, 0, [Chunk(0, 4096)])
    assert sum(parts) == pytest.approx(whole + len(cuts) * MEASURED_PASS.pass_s)


@pytest.mark.parametrize("name", [name for name in BUILTIN if name != "cpu-tiny"])
def test_the_kv_of_a_built_in_profile_fits_into_its_gpus(name: str) -> None:
    profile = BUILTIN[name]
    gpu = {"h100": "h100-sxm", "h200": "h200-sxm", "b200": "b200"}[name.partition("-")[0]]
    assert name.endswith(f"tp{profile.gpus_per_replica}")
    assert profile.kv_bytes_per_token is not None
    kv_bytes = profile.kv_tokens * profile.kv_bytes_per_token
    assert kv_bytes < GPUS[gpu].memory_bytes * profile.gpus_per_replica
    assert profile.link_bytes_per_s == 50e9 * profile.gpus_per_replica


@pytest.mark.parametrize("preset", list(Preset))
def test_every_preset_has_a_profile(preset: Preset) -> None:
    assert profile_of(Hardware(preset=preset)) == BUILTIN[PRESET_PROFILE[preset]]


def test_a_named_profile_goes_before_the_presets_and_an_inline_one_before_both() -> None:
    inline = InlineProfile(ttft=LatencyFit(a=1), itl=LatencyFit(a=2), kv_tokens=7, max_batch=3)
    assert profile_of(Hardware(profile="cpu-tiny")) is BUILTIN["cpu-tiny"]
    assert profile_of(Hardware(profile="cpu-tiny", inline_profile=inline)) == Profile(Fit(1), Fit(2), 7, 3)


def test_an_unknown_profile_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(UnknownProfileError, match=r"spec\.hardware\.profile 'b100'.*cpu-tiny.*inlineProfile"):
        profile_of(Hardware(profile="b100"))


@pytest.mark.parametrize(
    ("name", "isl", "measured_s"),
    [("h200-llama-3.1-8b-fp8-tp1", 8192, 0.1671), ("h100-llama-3.3-70b-fp8-tp4", 8192, 0.4930)],
)
def test_built_in_gpu_profiles_are_in_seconds(name: str, isl: int, measured_s: float) -> None:
    assert BUILTIN[name].ttft_s(isl) == pytest.approx(measured_s, rel=0.01)
