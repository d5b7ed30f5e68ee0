"""What either mode takes: the finding of docs/results/modes.md in formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api.values import PerRole
from pdoperator.capacity.builtin import BUILTIN
from pdoperator.forecast.demand import Demand
from pdoperator.planning.modes.memory import ModeMemory, Needs
from pdoperator.planning.modes.needs import needs
from pdoperator.planning.settings import PlanSettings
from planning import fleet

CONV = Demand(70.0, 1200.0, 200.0)
CODE = Demand(70.0, 2047.0, 28.0)


def on(ttft_s: float, tpot_s: float) -> PlanSettings:
    """Llama 70B on four H100s under these targets."""
    profile = BUILTIN["h100-llama-3.3-70b-fp8-tp4"]
    return replace(fleet.settings(), profile=profile, ttft_target_s=ttft_s, tpot_target_s=tpot_s)


@pytest.mark.parametrize(
    ("demand", "ttft_s", "tpot_s", "low", "high"),
    [
        pytest.param(CONV, 2.0, 0.08, 0.9, 1.1, id="at loose targets they tie (11 and 11 engines replayed)"),
        pytest.param(CONV, 1.0, 0.04, 1.05, 1.4, id="at tight ones aggregated takes more (14 and 12)"),
        pytest.param(
            CODE, 1.0, 0.04, 1.25, 2.0, id="the more so, the fewer tokens even prompts out (17 and 13)"
        ),
    ],
)
def test_aggregated_engines_for_a_disaggregated_one(
    demand: Demand, ttft_s: float, tpot_s: float, low: float, high: float
) -> None:
    assert low <= needs(demand, on(ttft_s, tpot_s)).exchange <= high


def test_a_tpot_that_not_even_an_idle_engine_meets_is_met_by_no_number() -> None:
    assert math.isinf(needs(CONV, on(2.0, 0.010)).aggregated)


def test_what_no_number_meets_is_exchanged_one_for_one() -> None:
    assert Needs(math.inf, PerRole(3.0, 2.0)).exchange == 1.0


@given(
    rate=st.floats(0.1, 200),
    more=st.floats(1.01, 3),
    isl=st.floats(16, 16000),
    osl=st.floats(1, 2000),
    targets=st.sampled_from([(2.0, 0.08), (1.0, 0.04)]),
)
def test_more_load_never_takes_fewer_engines(
    rate: float, more: float, isl: float, osl: float, targets: tuple[float, float]
) -> None:
    settings = on(*targets)
    less = needs(Demand(rate, isl, osl), settings).aggregated
    assert less <= needs(Demand(rate * more, isl, osl), settings).aggregated * 1.01


@pytest.mark.parametrize(
    "memory",
    [
        ModeMemory(),
        ModeMemory(Needs(3.5, PerRole(2.0, 1.0)), 12.0),
        ModeMemory(Needs(math.inf, PerRole(2.0, 1.0))),
    ],
)
def test_what_is_remembered_survives_a_restart(memory: ModeMemory) -> None:
    assert ModeMemory.from_text(memory.to_text()) == memory


@pytest.mark.parametrize("text", ["", "{}", "[]", "7", '{"needs": [1], "leaning_s": null}', '{"needs": 1}'])
def test_what_another_version_wrote_is_nothing(text: str) -> None:
    assert ModeMemory.from_text(text) == ModeMemory()
