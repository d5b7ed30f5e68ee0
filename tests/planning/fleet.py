"""Builders of engines, observations and settings for planning's tests."""

from __future__ import annotations

from typing import Any

from pdoperator.api.names import Pool, Role, State
from pdoperator.api.spec import Spec
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.forecast.demand import Demand, DemandHistory
from pdoperator.planning.decision import History
from pdoperator.planning.observation import EngineView, Observation
from pdoperator.planning.settings import Limits, PlanSettings, RoleLimits, plan_settings

NOW_S = 1_000_000.0
PROFILE = {
    "ttft": {"a": 0.02, "b": 0.0007},
    "itl": {"a": 0.016, "b": 0.0005},
    "kvTokens": 16384,
    "maxBatch": 16,
}
NONE_OUTSTANDING = Value(PerRole(0, 0))


def engine(name: str, role: Role = Role.DECODE, **changes: Any) -> EngineView:
    """A ready, serving engine of a shared pool with nothing to do."""
    view: dict[str, Any] = {
        "name": name,
        "pool": Pool.SHARED,
        "role": role,
        "state": State.SERVING,
        "ready": True,
        "deleting": False,
        "revision": "r1",
        "created_s": NOW_S - 1000,
        "outstanding": NONE_OUTSTANDING,
        "routed_role": role,
        "running": Value(0.0),
        "waiting": Value(0.0),
        "kv_use": Value(0.0),
        "exporting": Value(0),
    }
    return EngineView(**(view | changes))


def busy(name: str, role: Role, **readings: float) -> EngineView:
    """A serving engine with these readings, taken just now."""
    return engine(name, role, **{reading: Value(x) for reading, x in readings.items()})


def unread(role: Role, count: int) -> tuple[EngineView, ...]:
    """Serving engines that could not be scraped."""
    away = Missing("it did not answer")
    gone = {"running": away, "waiting": away, "kv_use": away, "exporting": away}
    return tuple(engine(f"unread-{role.value}-{i}", role, **gone) for i in range(count))


def fleet(prefill: int, decode: int, **readings: float) -> tuple[EngineView, ...]:
    """Serving engines; what is given as `prefill_x` or `decode_x` is their reading x."""

    def of(role: Role, count: int) -> list[EngineView]:
        mine = {
            k.removeprefix(f"{role.value}_"): v for k, v in readings.items() if k.startswith(f"{role.value}_")
        }
        return [busy(f"{role.value}-{i}", role, **mine) for i in range(count)]

    return (*of(Role.PREFILL, prefill), *of(Role.DECODE, decode))


def limits(
    p: tuple[int, int, int] = (1, 100, 1), d: tuple[int, int, int] = (1, 100, 1), **bounds: Any
) -> Limits:
    """Limits from (least, most, cost) per role."""
    return Limits(PerRole(RoleLimits(p[0], p[1], p[0], p[2]), RoleLimits(d[0], d[1], d[0], d[2])), **bounds)


def settings(*, shared_pool: bool = True, **spec: Any) -> PlanSettings:
    """Settings of a spec on preset cpu with the given parts."""
    body = {"model": {"name": "tiny"}, "hardware": {"preset": "cpu", "inlineProfile": PROFILE}} | spec
    return plan_settings(Spec.model_validate(body), shared_pool=shared_pool)


def observation(
    demand: Demand | Missing | None, at_s: float = NOW_S, engines: tuple[EngineView, ...] = (), **more: Any
) -> Observation:
    """An observation of a service with this demand; None: no request came."""
    reading = demand if isinstance(demand, Missing) else Value(demand)
    return Observation(at_s, engines, reading, more.pop("tpot_s", Missing("none finished")), **more)


def no_history() -> History:
    """What `decide` remembers at first."""
    return History(DemandHistory(50))
