"""One fleet asked for at one moment: what serves meanwhile are the engines that were there."""

from __future__ import annotations

import numpy as np
import pytest

from pdoperator.api.values import PerRole
from pdoperator.capacity.builtin import BUILTIN
from pdoperator.sim.policies.catalogue import prepare
from pdoperator.sim.replay import replay
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.traffic.trace import Trace
from planning.fleet import observation

TRACE = Trace.of("even", np.arange(0.0, 400.0), np.full(400, 1000), np.full(400, 100))
SCENARIO = Scenario(BUILTIN["h200-llama-3.1-8b-fp8-tp1"], 2.0, 0.08, PerRole(3, 2), startup_cv=0.0)


@pytest.mark.parametrize(
    ("at_s", "target"),
    [
        (5.0, PerRole(4, 1)),  # the first five, split as they shall be until others come
        (59.0, PerRole(4, 1)),
        (60.0, PerRole(16, 4)),  # all twenty are asked for; those that are there stay as they are
        (179.0, PerRole(16, 4)),
        (180.0, PerRole(8, 12)),  # 120 s later they serve
        (4000.0, PerRole(8, 12)),
    ],
)
def test_it_asks_for_all_at_once_and_splits_anew_when_they_have_started(
    at_s: float, target: PerRole[int]
) -> None:
    policy, scenario = prepare("asked:8:12:after=60:prefill=4", TRACE, SCENARIO)
    assert scenario.first == PerRole(4, 1)
    before = range(5, int(at_s), 5)
    for earlier_s in before:
        policy.decide(observation(None, float(earlier_s)))
    assert policy.decide(observation(None, at_s)) == target


def test_its_engines_take_their_time_to_start_as_everybody_elses() -> None:
    policy, scenario = prepare("asked:8:12:after=60", TRACE, SCENARIO)
    fleet = replay(TRACE, scenario, policy).fleet
    serving = fleet.prefill_ready + fleet.decode_ready
    assert serving[fleet.t_s < 180.0].max() == 5
    assert serving[fleet.t_s > 180.0].max() == 20
    assert fleet.prefill_ready[fleet.t_s < 180.0].min() == 3


def test_it_cannot_prefill_with_all_of_the_first_engines() -> None:
    _, scenario = prepare("asked:8:12:prefill=9", TRACE, SCENARIO)
    assert scenario.first == PerRole(4, 1)
