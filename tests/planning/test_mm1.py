"""Strategy MM1: the paper's example to its digits, at the spec's percentile, for the time an engine takes to start."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api import defaults
from pdoperator.api.values import PerRole, Value
from pdoperator.forecast.demand import Demand
from pdoperator.planning.decide import decide
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.strategies.mm1 import size
from planning.fleet import no_history, observation, settings

WIDE = {"minReplicas": 1, "maxReplicas": 1000}


def plan(**more: Any) -> PlanSettings:
    scaling = {"strategy": "MM1", "forecast": {"model": "LastValue"}}
    return settings(prefill=WIDE, decode=WIDE, autoscaling=scaling, **more)


def test_the_papers_example() -> None:
    # L_in 6144 at 28,309 tok/s alone; TTFT 2 s, of it 0.1 s overhead; 5 M tokens a minute. P90: 20,863 tok/s, 3.69 P.
    engine = {
        "ttft": {"a": 0.0, "b": 1 / 28309},
        "itl": {"a": 0.02, "b": 0.0},
        "kvTokens": 10**7,
        "maxBatch": 34,
    }
    demand = Demand(5e6 / 60 / (6144 + 512), 6144, 512)
    hardware = {"preset": "cpu", "inlineProfile": engine}
    sized = size(plan(hardware=hardware, slo={"tpot": {"target": "20ms"}}), demand)
    assert sized.wanted == PerRole(4, 4)  # 3.69 and 12.52 * 512 / 1700 = 3.77
    tight = size(
        plan(hardware=hardware, slo={"ttft": {"target": "0.75s"}, "tpot": {"target": "20ms"}}), demand
    )
    # 28309 - 6144 * ln 10 / 0.65 = 6545 tok/s
    assert tight.wanted.prefill == 12


def test_a_target_that_no_fleet_meets_is_told_and_sized_for_what_queues_can_give() -> None:
    sized = size(plan(slo={"ttft": {"target": "300ms"}}), Demand(10, 512, 64))
    assert sized.wanted.prefill == 19  # 10 req/s * 0.3784 s / 0.2
    assert sized.note.startswith("a TTFT of 0.3 s cannot be met by any number of prefill engines")
    assert sized.note.endswith("; sized for 20% of their capacity")


def test_what_a_prefix_cache_holds_needs_no_prefill() -> None:
    cold, warm = Demand(30, 1024, 64), Demand(30, 1024, 64, prefix_hit=0.5)
    assert size(plan(), warm).wanted.prefill == size(plan(), Demand(30, 512, 64)).wanted.prefill
    assert size(plan(), warm).wanted.prefill < size(plan(), cold).wanted.prefill
    assert size(plan(), warm).wanted.decode == size(plan(), cold).wanted.decode


def test_it_looks_ahead_as_long_as_an_engine_takes_to_start() -> None:
    seen = observation(Demand(3, 512, 64), startup_p90_s=Value(90.0))
    decision, _ = decide(plan(), seen, no_history())
    assert decision.forecast is not None
    assert decision.forecast.horizon_s == 105
    unmeasured, _ = decide(plan(), observation(Demand(3, 512, 64)), no_history())
    assert unmeasured.forecast is not None
    assert unmeasured.forecast.horizon_s == defaults.STARTUP_S + 15


def test_or_as_far_as_the_spec_says() -> None:
    far = settings(
        autoscaling={"strategy": "MM1", "forecast": {"model": "LastValue", "horizon": "10m"}}, prefill=WIDE
    )
    decision, _ = decide(far, observation(Demand(3, 512, 64)), no_history())
    assert decision.forecast is not None
    assert decision.forecast.horizon_s == 600


def test_a_decision_says_what_it_would_be_without_the_forecast() -> None:
    decision, _ = decide(plan(), observation(Demand(3, 512, 64)), no_history())
    assert decision.without_forecast == decision.wanted


PLAN = plan()


@given(
    rate=st.floats(0.1, 100),
    isl=st.floats(1, 2000),
    osl=st.floats(1, 500),
    more=st.floats(1, 3),
    which=st.sampled_from(["rate", "isl", "osl"]),
)
def test_more_load_never_needs_fewer_engines(
    rate: float, isl: float, osl: float, more: float, which: str
) -> None:
    times = {"rate": 1.0, "isl": 1.0, "osl": 1.0} | {which: more}
    less = size(PLAN, Demand(rate, isl, osl)).wanted
    greater = size(PLAN, Demand(rate * times["rate"], isl * times["isl"], osl * times["osl"])).wanted
    assert greater.prefill >= less.prefill
    assert greater.decode >= less.decode
