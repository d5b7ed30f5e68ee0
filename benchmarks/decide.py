"""One tick of many services on one core: readings to observations, a forecast by a warm model, a decision.

    python benchmarks/decide.py --json

Each service has 16 engines and two hours of history, a load that goes up and down and prompts of changing length. The
readings are given: what scraping costs is not counted, nor are the two hours that warm the models.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from dataclasses import dataclass

from pdoperator.api.names import Pool, Role, State
from pdoperator.api.spec import Spec
from pdoperator.api.values import PerRole, Value
from pdoperator.forecast.demand import Demand, DemandHistory
from pdoperator.planning.decide import decide
from pdoperator.planning.decision import Decision, History
from pdoperator.planning.observation import EngineView, Observation
from pdoperator.planning.settings import PlanSettings, plan_settings

INTERVAL_S = 15.0
WARM_TICKS = 480
LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of one engine."""

    running: float
    waiting: float
    kv_use: float
    exporting: int
    outstanding: PerRole[int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--engines", type=int, default=16, help="of each service")
    parser.add_argument("--strategy", default="Adaptive", help="as in spec.autoscaling.strategy")
    parser.add_argument(
        "--model", default="Auto", help="as in spec.autoscaling.forecast.model; Adaptive has its own"
    )
    parser.add_argument("--json", action="store_true", help="one object instead of a sentence")
    args = parser.parse_args()
    figures = measure(args.services, args.engines, args.strategy, args.model)
    if args.json:
        print(json.dumps(figures))
    else:
        print(
            f"{figures['services']} services of {figures['engines']} engines: {figures['tick_s']:.2f} s a tick,"
            f" {figures['service_ms']:.2f} ms a service"
        )


def measure(services: int, engines: int, strategy: str, model: str) -> dict[str, object]:
    """CPU seconds of one tick of all services, after each has run by itself for two hours."""
    plan = settings(strategy, model)
    histories = warm(plan, services, engines)
    readings = [readings_of(engines, service) for service in range(services)]
    at_s = (WARM_TICKS + 1) * INTERVAL_S
    started_s = time.process_time()
    decisions = [
        tick(plan, histories[service], readings[service], demand(service, at_s), at_s)
        for service in range(services)
    ]
    tick_s = time.process_time() - started_s
    return {
        "services": services,
        "engines": engines,
        "strategy": strategy,
        "model": model,
        "tick_s": round(tick_s, 3),
        "service_ms": round(tick_s / services * 1e3, 3),
        "limit_s": LIMIT_S,
        "within_limit": tick_s <= LIMIT_S,
        "forecast_models": sorted({d.forecast.model for d in decisions if d.forecast is not None}),
    }


def settings(strategy: str, model: str) -> PlanSettings:
    """A service on the H200 profile between 1 and 32 engines a role."""
    bounds = {"minReplicas": 1, "maxReplicas": 32}
    spec = Spec.model_validate(
        {
            "model": {"name": "benchmark"},
            "hardware": {"profile": "h200-llama-3.1-8b-fp8-tp1"},
            "prefill": bounds,
            "decode": bounds,
            "autoscaling": {"strategy": strategy, "forecast": {"model": model}},
        }
    )
    return plan_settings(spec, shared_pool=True)


def warm(plan: PlanSettings, services: int, engines: int) -> list[History]:
    """Histories of two hours: as many as there are shapes of load, each copied for the services that have it."""
    kinds = min(services, 20)
    shapes = []
    for kind in range(kinds):
        history = History(DemandHistory(plan.window))
        for i in range(WARM_TICKS):
            at_s = (i + 1) * INTERVAL_S
            _, history = decide(
                plan, observation(readings_of(engines, kind), demand(kind, at_s), at_s), history
            )
        shapes.append(history)
    return [copy.deepcopy(shapes[service % kinds]) for service in range(services)]


def tick(
    plan: PlanSettings, history: History, readings: list[Reading], seen: Demand, at_s: float
) -> Decision:
    """What is timed."""
    decision, _ = decide(plan, observation(readings, seen, at_s), history)
    return decision


def observation(readings: list[Reading], seen: Demand, at_s: float) -> Observation:
    """Readings to an observation; a third of the engines prefill."""
    engines = tuple(
        EngineView(
            name=f"engine-{i}",
            pool=Pool.SHARED,
            role=Role.PREFILL if 3 * i < len(readings) else Role.DECODE,
            state=State.SERVING,
            ready=True,
            deleting=False,
            revision="1",
            created_s=0.0,
            outstanding=Value(reading.outstanding),
            running=Value(reading.running),
            waiting=Value(reading.waiting),
            kv_use=Value(reading.kv_use),
            exporting=Value(reading.exporting),
        )
        for i, reading in enumerate(readings)
    )
    return Observation(
        at_s=at_s, engines=engines, demand=Value(seen), tpot_s=Value(0.03), startup_p90_s=Value(120.0)
    )


def readings_of(engines: int, service: int) -> list[Reading]:
    """Busy engines, no two services alike."""
    return [
        Reading(
            8.0 + (service + i) % 5, (service * i) % 3, 0.3 + 0.05 * ((service + i) % 7), i % 2, PerRole(4, 4)
        )
        for i in range(engines)
    ]


def demand(service: int, at_s: float) -> Demand:
    """Waves of an hour with ripples on them."""
    rate = 40 + 25 * math.sin(at_s / 573 + service) + 5 * math.sin(at_s / 31 + 7 * service)
    return Demand(rate, 1000 + 300 * math.sin(at_s / 900 + service), 200 + 50 * math.sin(at_s / 700))


if __name__ == "__main__":
    main()
