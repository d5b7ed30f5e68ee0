"""A fleet shrinks only on fresh readings from every role."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.reasons import Reason
from pdoperator.api.values import PerRole, Value
from pdoperator.planning.constraints.draft import Draft
from pdoperator.planning.constraints.fresh_readings import fresh_readings
from pdoperator.planning.observation import EngineView
from pdoperator.planning.strategies.strategy import Context, Proposal
from planning.fleet import busy, fleet, no_history, observation, settings, unread

CURRENT = (4, 4)


def through(
    engines: tuple[EngineView, ...],
    wanted: tuple[int, int],
    *,
    shared_pool: bool = True,
    behavior: bool = True,
) -> Draft:
    plan = settings(shared_pool=shared_pool)
    context = Context(plan, observation(None, engines=engines), no_history(), PerRole(*CURRENT))
    proposal = Proposal(PerRole(*wanted), Reason.FORECAST, "because", behavior=behavior)
    return fresh_readings(context, Draft.of(proposal))


@pytest.mark.parametrize(
    ("engines", "wanted", "target"),
    [
        pytest.param(fleet(4, 4), (2, 2), (2, 2), id="all were read"),
        pytest.param((*fleet(4, 0), *unread(Role.DECODE, 4)), (2, 4), (4, 4), id="the other role was not"),
        pytest.param((*fleet(2, 4), *unread(Role.PREFILL, 2)), (2, 2), (2, 2), id="half of a role was"),
        pytest.param((*fleet(1, 4), *unread(Role.PREFILL, 3)), (2, 2), (4, 4), id="less than half was"),
        pytest.param((*fleet(4, 0), *unread(Role.DECODE, 4)), (6, 4), (6, 4), id="more needs no reading"),
        pytest.param((*fleet(4, 0), *unread(Role.DECODE, 4)), (6, 2), (6, 2), id="nor does a flip"),
        pytest.param(fleet(4, 0), (2, 2), (2, 2), id="where no engine serves there is none to read"),
    ],
)
def test_in_a_shared_pool(
    engines: tuple[EngineView, ...], wanted: tuple[int, int], target: tuple[int, int]
) -> None:
    assert through(engines, wanted).target == PerRole(*target)


def test_in_dedicated_pools_each_role_stays_and_the_other_may_grow() -> None:
    blind = (*fleet(4, 0), *unread(Role.DECODE, 4))
    assert through(blind, (6, 2), shared_pool=False).target == PerRole(6, 4)


def test_it_tells_which_role_could_not_be_read() -> None:
    draft = through((*fleet(4, 1), *unread(Role.DECODE, 3)), (1, 1))
    assert draft.reason is Reason.HOLD_METRICS_MISSING
    assert draft.why == "because; held at 4P:4D because 3 of 4 decode engines have no fresh reading"


def test_an_old_reading_is_none() -> None:
    old = replace(busy("p", Role.PREFILL), running=Value(0.0, defaults.METRICS_MAX_AGE_S + 1))
    assert through((old, *fleet(0, 4)), (1, 1)).target == PerRole(*CURRENT)


def test_a_persons_size_stands_whatever_was_read() -> None:
    assert through(unread(Role.DECODE, 4), (1, 1), behavior=False).target == PerRole(1, 1)
