"""Decisions in words, as HPA writes its Events."""

from __future__ import annotations

from pdoperator.api.autoscaling import ForecastModel
from pdoperator.api.names import Role
from pdoperator.api.values import PerRole
from pdoperator.forecast.forecasted import Forecasted
from pdoperator.planning.calendar import MODEL


def load(ahead: Forecasted) -> str:
    """What is expected: `forecast 3.0 req/s, ISL 512, OSL 64 in 15 s`."""
    what = {MODEL: "calendar", ForecastModel.LAST_VALUE: "last value"}.get(ahead.model, "forecast")
    return expected(ahead, what)


def expected(ahead: Forecasted, what: str = "forecast") -> str:
    """The same, called `what`."""
    demand = ahead.demand
    return (
        f"{what} {demand.rate_rps:.1f} req/s, ISL {demand.isl_tokens:.0f}, OSL {demand.osl_tokens:.0f}"
        f" in {ahead.horizon_s:.0f} s"
    )


def needs(what: str, wanted: PerRole[int], current: PerRole[int]) -> str:
    """What it takes and what there was: `... needs prefill 4 (was 1), decode 1`."""

    def part(role: Role) -> str:
        was = "" if wanted[role] == current[role] else f" (was {current[role]})"
        return f"{role.value} {wanted[role]}{was}"

    return f"{what} needs {', '.join(part(role) for role, _ in wanted.items())}"
