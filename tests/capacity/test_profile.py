"""Profiles: their form, what they refuse, which one a service gets."""

from __future__ import annotations

import math

import pytest

from pdoperator.api.spec import Hardware, InlineProfile, LatencyFit, Preset
from pdoperator.capacity.builtin import BUILTIN, PRESET_PROFILE, UnknownProfileError, profile_of
from pdoperator.capacity.profile import Fit, Profile


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
