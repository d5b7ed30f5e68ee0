"""From measured points to a profile."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pdoperator.capacity import measurements, measuring
from pdoperator.capacity.measurements import (
    ItlPoint,
    Measurements,
    MixedPoint,
    NotMeasuredError,
    SaturatedPoint,
    Setting,
    TtftPoint,
)
from pdoperator.capacity.profile import Chunk, Fit, Profile

TRUE = Profile(
    Fit(0.05, 4e-4, 3e-7), Fit(0.02, 1e-3, 7e-7), 16384, 16, batched_tokens=1024, measured_pass_s=0.03
)  # fmt: skip
SETTING = Setting(16384, 1024, 1, None, None, None)


def tiny(prompts: int, steps: int, idle_s: float = 0.0) -> SaturatedPoint:
    """Tiny prompts at a saturated engine, which may idle in between."""
    work_s = prompts * (TRUE.step_s(0, 0, [Chunk(0, 4)]) - TRUE.pass_s)
    return SaturatedPoint(4, prompts, TRUE.latency_s + steps * TRUE.pass_s + work_s + idle_s, steps)


def prompt(isl: int) -> TtftPoint:
    return TtftPoint(isl, TRUE.ttft_s(isl) + (math.ceil(isl / 1024) - 1) * TRUE.pass_s)


MEASURED = Measurements(
    ttft=tuple(prompt(isl) for isl in (32, 128, 512, 1024, 2048, 4096)),
    saturated=(tiny(40, 30, idle_s=0.3), tiny(160, 20), SaturatedPoint(512, 8, 2.3, 4)),
    itl=tuple(ItlPoint(b, c, TRUE.itl_s(b, c)) for b in (1, 4, 16) for c in (64, 1024)),
    mixed=(MixedPoint(4, 256, TRUE.step_s(4, 0, [Chunk(0, 256)]) - TRUE.step_s(4, 0)),),
    max_batch=16,
)


def test_the_profile_of_points_without_noise_is_the_one_that_made_them() -> None:
    found = measurements.profile_of(SETTING, MEASURED)
    assert found.pass_s == pytest.approx(TRUE.pass_s, rel=0.01)
    assert (found.ttft.a, found.ttft.b, found.ttft.c) == pytest.approx((0.05, 4e-4, 3e-7), rel=0.01)
    assert (found.itl.a, found.itl.b, found.itl.c) == pytest.approx((0.02, 1e-3, 7e-7), rel=0.01)
    errors = measurements.errors(found, MEASURED)
    assert max(errors.ttft_max, errors.itl_max) < 0.01
    assert errors.mixed == pytest.approx(1, rel=0.01)


def test_an_engine_that_idles_only_hides_how_short_a_pass_is() -> None:
    alone = measurements.profile_of(SETTING, replace(MEASURED, saturated=(tiny(40, 30, idle_s=0.3),)))
    both = measurements.profile_of(SETTING, MEASURED)
    assert alone.pass_s > both.pass_s


def test_without_saturated_runs_a_pass_is_not_measured() -> None:
    found = measurements.profile_of(SETTING, replace(MEASURED, saturated=()))
    assert found.measured_pass_s is None


def test_a_pass_lies_between_nothing_and_the_latency_of_a_prompt_without_tokens() -> None:
    slow = measurements.profile_of(SETTING, replace(MEASURED, saturated=(tiny(40, 30, idle_s=30),)))
    fast = measurements.profile_of(SETTING, replace(MEASURED, saturated=(SaturatedPoint(4, 40, 0.01, 30),)))
    assert slow.latency_s == 0
    assert fast.pass_s == 0


def test_what_was_not_measured_has_no_error() -> None:
    few = replace(MEASURED, saturated=(), mixed=())
    errors = measurements.errors(measurements.profile_of(SETTING, few), few)
    assert math.isnan(errors.packed)
    assert math.isnan(errors.mixed)


@pytest.mark.parametrize("few", [{"ttft": MEASURED.ttft[:2]}, {"itl": MEASURED.itl[:2]}])
def test_too_few_points_are_no_profile(few: dict[str, tuple[TtftPoint | ItlPoint, ...]]) -> None:
    with pytest.raises(NotMeasuredError, match="TTFT at three lengths"):
        measurements.profile_of(SETTING, replace(MEASURED, **few))  # type: ignore[arg-type]


def test_the_plan_stays_within_what_the_engine_holds() -> None:
    info = measuring.EngineInfo("m", kv_tokens=16_384, max_model_len=2048)
    steps = list(measuring.plan(info, 1024))
    lengths = [step.isl_tokens for step in steps if isinstance(step, measuring.Ttft)]
    assert lengths == [32, 64, 128, 256, 512, 1024, 2047]
    batches = [(step.batch, step.context_tokens) for step in steps if isinstance(step, measuring.Itl)]
    assert max(batch * (context + 64) for batch, context in batches) <= 0.9 * 16_384
    assert [batch for batch, _ in batches] == sorted(batch for batch, _ in batches)
    assert all(step.isl_tokens <= 1020 for step in steps if isinstance(step, measuring.Mixed))
    assert all(step.weight > 0 for step in steps)
