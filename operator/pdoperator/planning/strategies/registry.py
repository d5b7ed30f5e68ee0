"""Strategies by the name that the spec calls them."""

from __future__ import annotations

from collections.abc import Mapping

from pdoperator.api import autoscaling
from pdoperator.planning.adaptive.remembered import restore
from pdoperator.planning.adaptive.strategy import adaptive
from pdoperator.planning.adaptive.tuning import Tuning
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.strategies.dopd import dopd
from pdoperator.planning.strategies.emergency import with_emergency_when_blind
from pdoperator.planning.strategies.external import external
from pdoperator.planning.strategies.foreseen import with_calendar
from pdoperator.planning.strategies.mm1 import mm1_strategy
from pdoperator.planning.strategies.reactive import reactive
from pdoperator.planning.strategies.static import disabled, static
from pdoperator.planning.strategies.strategy import Restore, Strategy


def whole_adaptive(tuning: Tuning) -> Strategy:
    """Adaptive with all that stands around it: one and the same for services and for replays."""
    strategy = adaptive(tuning)
    return with_calendar(with_emergency_when_blind(strategy) if tuning.emergency else strategy)


STRATEGIES: Mapping[autoscaling.Strategy, Strategy] = {
    autoscaling.Strategy.ADAPTIVE: whole_adaptive(Tuning()),
    autoscaling.Strategy.DOPD: dopd,
    autoscaling.Strategy.MM1: mm1_strategy,
    autoscaling.Strategy.REACTIVE: reactive,
    autoscaling.Strategy.STATIC: static,
    autoscaling.Strategy.EXTERNAL: external,
}

# Of strategies whose state survives a restart.
RESTORES: Mapping[autoscaling.Strategy, Restore] = {autoscaling.Strategy.ADAPTIVE: restore}


def strategy_of(settings: PlanSettings) -> Strategy:
    """The strategy of a service; one whose autoscaling is off keeps the spec's replicas."""
    return STRATEGIES[settings.strategy] if settings.enabled else disabled
