"""How each policy is made for a scenario: published settings as defaults, what may be varied as options."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from pdoperator.api import defaults
from pdoperator.api.autoscaling import Strategy
from pdoperator.api.spec import Mode
from pdoperator.api.values import PerRole
from pdoperator.planning.adaptive.tuning import Tuning
from pdoperator.planning.strategies.registry import whole_adaptive
from pdoperator.sim.policies.arrow import Arrow
from pdoperator.sim.policies.asked import Asked
from pdoperator.sim.policies.dopd_release import DopdRelease
from pdoperator.sim.policies.dyn_load import DynLoad
from pdoperator.sim.policies.dyn_sla import DynSla
from pdoperator.sim.policies.dynamo.policy import TICK_S, Dynamo
from pdoperator.sim.policies.heteroscale import HeteroScale
from pdoperator.sim.policies.hpa import Hpa, Keda
from pdoperator.sim.policies.oracle import Oracle
from pdoperator.sim.policies.planned import Planned, no_history, remembered, settings_of
from pdoperator.sim.policies.policy import PolicyBase
from pdoperator.sim.policies.setting import Setting
from pdoperator.sim.policies.static import Static
from pdoperator.sim.policies.tokenscale import TokenScale
from pdoperator.sim.policies.work import request_work, work_of
from pdoperator.sim.policies.wva import Wva
from pdoperator.sim.scenario import LocalPrefill, RouterOptions

STATIC_S = 60.0  # how often a fleet that never changes is looked at, for the report
MONITOR_S = 10.0  # how often the planners of DOPD's release read metrics
ADJUST_S = 180.0  # their adjustment interval, as Dynamo's default
HETEROSCALE_S = 30.0
TOKENSCALE_S = 5.0
NARWHAL_S = 5.0
ASKED_S = 5.0
HPA_S = 15.0  # HPA's sync period, KEDA's polling interval in vLLM's production stack
ADAPTIVE_DOWN_S = 120.0  # what takes a start-up to get back is not given away sooner
WVA_S = 15.0  # GLOBAL_OPT_INTERVAL
LAZY = RouterOptions(local_prefill=LocalPrefill.LAZY)
OURS = replace(LAZY, deferral_s=defaults.DEFERRAL_S)  # as the cluster's router by default


def static(at: Setting, fleet: PerRole[int], deferral: float = 0.0) -> PolicyBase:
    """`fleet` throughout. `deferral`: seconds that prompts yield to others when they will miss the TTFT target."""
    return Static(at.name, STATIC_S, fleet, router=RouterOptions(deferral_s=deferral))


def hybrid(at: Setting, fleet: PerRole[int], deferral: float = 0.0) -> PolicyBase:
    """`fleet` throughout, whose decode engines prefill in chunks when the prefill engines come near the TTFT target."""
    return Static(at.name, STATIC_S, fleet, router=replace(LAZY, deferral_s=deferral))


def aggregated(at: Setting, engines: float = 0, chunk: float = 0) -> PolicyBase:
    """`engines` throughout, as many as the first fleet has if 0; `chunk` 0: the profile's token budget."""
    router = RouterOptions(chunk_tokens=int(chunk) or None)
    return Static(at.name, STATIC_S, PerRole(0, int(engines) or at.engines), router=router)


def dyn_load(at: Setting, adjust: float = ADJUST_S) -> PolicyBase:
    """`adjust`: seconds between changes."""
    return DynLoad(at.name, min(MONITOR_S, adjust), at.first, adjust_s=adjust)


def dyn_sla(at: Setting, adjust: float = ADJUST_S) -> PolicyBase:
    """`adjust`: seconds between changes, and the horizon of its forecast."""
    scenario = at.scenario
    return DynSla(
        at.name, adjust, at.first, profile=scenario.profile, tpot_s=scenario.tpot_s, budget=at.budget
    )


def dynamo(
    at: Setting,
    adjust: float = ADJUST_S,
    target: float = 1.0,
    sensitivity: float = 80.0,
    no_load: bool = False,
) -> PolicyBase:
    """NVIDIA's planner. `adjust`: seconds between throughput decisions; `target`: the share of both that it is told.

    `sensitivity`: percent of a target under which it gives engines back; `no_load`: its load loop off, as by default.
    """
    scenario = at.scenario
    return Dynamo(
        at.name,
        TICK_S,
        at.first,
        profile=scenario.profile,
        ttft_s=target * scenario.ttft_s,
        tpot_s=target * scenario.tpot_s,
        most_gpus=scenario.gpu_budget or scenario.max_engines * scenario.profile.gpus_per_replica,
        usual=at.usual,
        adjust_s=adjust,
        sensitivity=sensitivity,
        load=not no_load,
    )


def dopd_release(at: Setting, adjust: float = ADJUST_S) -> PolicyBase:
    """`adjust`: seconds between changes, and the horizon of its forecast."""
    return DopdRelease(at.name, adjust, at.first, profile=at.scenario.profile, budget=at.budget)


def heteroscale(at: Setting, load: float = 0.7) -> PolicyBase:
    """`load`: of the output tokens that a decode engine does at its TPOT target on this trace's lengths."""
    _, decode_s, _ = request_work(at.trace, at.scenario.profile, at.scenario.tpot_s)
    return HeteroScale(
        at.name,
        HETEROSCALE_S,
        at.first,
        tokens_per_s=load * float(at.trace.output_tokens.sum()) / float(decode_s.sum()),
        prefill_per_decode=at.first.prefill / at.first.decode,
        tpot_s=at.scenario.tpot_s,
    )


def tokenscale(at: Setting, load: float = 1.0) -> PolicyBase:
    """`load`: the share of its velocity that a stage is given."""
    scenario = at.scenario
    return TokenScale(
        at.name,
        TOKENSCALE_S,
        at.first,
        router=LAZY,
        profile=scenario.profile,
        tpot_s=scenario.tpot_s,
        load=load,
    )


def arrow(at: Setting, engines: float = 0, expand: float = 1.0, shrink: float = 0.5) -> PolicyBase:
    """`engines`: in all, split at first in the first fleet's ratio; as many as that has if 0."""
    scenario, total = at.scenario, int(engines) or at.engines
    prefill = min(total - 1, max(1, round(total * at.first.prefill / at.engines)))
    return Arrow(
        at.name,
        NARWHAL_S,
        PerRole(prefill, total - prefill),
        shared_pool=True,
        profile=scenario.profile,
        ttft_s=scenario.ttft_s,
        tpot_s=scenario.tpot_s,
        expand=expand,
        shrink=shrink,
    )


def wva_v2(at: Setting, grow: float = 0.85, shrink: float = 0.70, least: float = 0.0) -> PolicyBase:
    """`least`: engines of each role at least, as a share of the smaller first pool."""
    return Wva(
        at.name,
        WVA_S,
        at.first,
        profile=at.scenario.profile,
        grow_at=grow,
        shrink_at=shrink,
        least=at.least(least),
    )


def hpa(
    at: Setting, queue: float = 5.0, kv: float = 0.8, running: float = 10.0, least: float = 0.5
) -> PolicyBase:
    """`queue`, `kv`, `running`: targets an engine, 0 for none; `least`: of the smaller first pool, 0 for one engine."""
    return Hpa(
        at.name,
        HPA_S,
        at.first,
        queue=queue,
        kv=kv,
        running=running,
        least=at.least(least),
        most=at.scenario.max_engines,
    )


def aggregated_hpa(
    at: Setting,
    queue: float = 5.0,
    kv: float = 0.8,
    running: float = 10.0,
    least: float = 0.5,
    chunk: float = 0,
) -> PolicyBase:
    """The same without disaggregation; `chunk` as of `aggregated`."""
    return Hpa(
        at.name,
        HPA_S,
        PerRole(0, at.engines),
        router=RouterOptions(chunk_tokens=int(chunk) or None),
        queue=queue,
        kv=kv,
        running=running,
        least=max(1, math.ceil(least * at.engines)),
        most=at.scenario.max_engines,
        aggregated=True,
    )


def keda_queue(at: Setting, queue: float = 5.0, least: float = 0.5) -> PolicyBase:
    """`queue`: waiting requests for which there is an engine; `least` as of `hpa`."""
    return Keda(
        at.name,
        HPA_S,
        at.first,
        queue=queue,
        kv=0,
        running=0,
        least=at.least(least),
        most=at.scenario.max_engines,
    )


def reactive(at: Setting, interval: float = defaults.INTERVAL_S) -> PolicyBase:
    """The cluster's strategy Reactive; `interval`: seconds between decisions."""
    return _planned(at, Strategy.REACTIVE, interval)


def mm1(at: Setting, interval: float = defaults.INTERVAL_S) -> PolicyBase:
    """The cluster's strategy MM1; `interval`: seconds between decisions."""
    return _planned(at, Strategy.MM1, interval)


def dopd(at: Setting, interval: float = defaults.INTERVAL_S) -> PolicyBase:
    """The cluster's strategy DOPD; `interval`: seconds between decisions, and its horizon."""
    return _planned(at, Strategy.DOPD, interval)


def adaptive(
    at: Setting,
    quantile: float = defaults.FLEET_QUANTILE,
    interval: float = defaults.ADAPTIVE_INTERVAL_S,
    down: float = ADAPTIVE_DOWN_S,
    deferral: float = defaults.DEFERRAL_S,
    percentile: float = 0,
    no_forecast: bool = False,
    point: bool = False,
    one_tick: bool = False,
    no_flips: bool = False,
    no_overflow: bool = False,
    no_emergency: bool = False,
) -> PolicyBase:
    """The cluster's strategy Adaptive. `down`: the scale-down window; `deferral`: as of `static`; `percentile`: at
    which its targets are to hold, where not at the scenario's; `point` sizes for the median; the rest ablate."""
    at = replace(at, percentile=int(percentile) or at.percentile)
    tuning = Tuning(
        quantile=0.5 if point else quantile,
        error_budget=not point,
        forecast=not no_forecast,
        lead_time=not one_tick,
        flips=not no_flips,
        emergency=not no_emergency,
    )
    router = replace(RouterOptions() if no_overflow else LAZY, deferral_s=deferral)
    return _adaptive(at, tuning, interval, down, router=router)


def auto(
    at: Setting,
    interval: float = defaults.ADAPTIVE_INTERVAL_S,
    down: float = ADAPTIVE_DOWN_S,
    aggregated: bool = False,
) -> PolicyBase:
    """Adaptive in mode Auto, disaggregated at first; `aggregated`: in mode Aggregated throughout."""
    return _adaptive(at, Tuning(), interval, down, mode=Mode.AGGREGATED if aggregated else Mode.AUTO)


def _adaptive(
    at: Setting,
    tuning: Tuning,
    interval_s: float,
    down_s: float,
    *,
    mode: Mode = Mode.DISAGGREGATED,
    router: RouterOptions = OURS,
) -> PolicyBase:
    settings = settings_of(
        at.scenario,
        Strategy.ADAPTIVE,
        percentile=at.percentile,
        interval_s=interval_s,
        shared_pool=True,
        mode=mode,
    )
    rules = settings.behavior
    settings = replace(settings, behavior=replace(rules, down=replace(rules.down, window_s=down_s)))
    return Planned(
        at.name,
        interval_s,
        settings.first,
        shared_pool=True,
        router=router,
        settings=settings,
        history=no_history(settings) if at.before is None else remembered(settings, at.before),
        strategy=whole_adaptive(tuning),
    )


def _planned(at: Setting, strategy: Strategy, interval_s: float) -> PolicyBase:
    settings = settings_of(
        at.scenario, strategy, percentile=at.percentile, interval_s=interval_s, shared_pool=True
    )
    return Planned(
        at.name,
        interval_s,
        at.first,
        shared_pool=True,
        router=RouterOptions(deferral_s=defaults.DEFERRAL_S),
        settings=settings,
        history=no_history(settings),
    )


def clairvoyant(at: Setting, prefill: float = 0.7, decode: float = 0.7, window: float = 10.0) -> PolicyBase:
    """`prefill`, `decode`: how far each role is loaded; `window`: seconds over which work is averaged."""
    return _oracle(at, PerRole(prefill, decode), window)


def clairvoyant_aggregated(at: Setting, load: float = 0.7, window: float = 10.0) -> PolicyBase:
    """The same without disaggregation."""
    return _oracle(at, PerRole(load, load), window, aggregated=True)


def foresight(at: Setting, prefill: float = 0.7, decode: float = 0.7, window: float = 10.0) -> PolicyBase:
    """As `clairvoyant`, but engines take their time to start and it looks as far ahead as that takes."""
    return _oracle(at, PerRole(prefill, decode), window, lead_s=at.scenario.startup_s + window)


def asked(at: Setting, fleet: PerRole[int], after: float = 0.0, prefill: float = 0.0) -> PolicyBase:
    """`fleet`, asked for `after` so many seconds; `prefill`: of the engines until then, 0 for the first fleet's."""
    prefilling = min(at.engines - 1, int(prefill) or at.first.prefill)
    return Asked(
        at.name,
        ASKED_S,
        PerRole(prefilling, at.engines - prefilling),
        shared_pool=True,
        router=OURS,
        fleet=fleet,
        at_s=after,
        startup_s=at.scenario.startup_s,
    )


def _oracle(
    at: Setting, load: PerRole[float], window_s: float, *, lead_s: float = 0.0, aggregated: bool = False
) -> PolicyBase:
    return Oracle(
        at.name,
        window_s,
        PerRole(0, at.engines) if aggregated else at.first,
        shared_pool=lead_s > 0,
        work=work_of(at.trace, at.scenario.profile, at.scenario.tpot_s, window_s),
        load=load,
        lead_s=lead_s,
        aggregated=aggregated,
    )


BUILDERS: dict[str, Callable[..., PolicyBase]] = {
    "static": static,
    "hybrid": hybrid,
    "aggregated": aggregated,
    "dyn-load": dyn_load,
    "dyn-sla": dyn_sla,
    "dynamo": dynamo,
    "dopd-release": dopd_release,
    "heteroscale": heteroscale,
    "tokenscale": tokenscale,
    "arrow": arrow,
    "wva-v2": wva_v2,
    "hpa": hpa,
    "keda-queue": keda_queue,
    "aggregated-hpa": aggregated_hpa,
    "reactive": reactive,
    "mm1": mm1,
    "dopd": dopd,
    "adaptive": adaptive,
    "auto": auto,
    "clairvoyant": clairvoyant,
    "clairvoyant-aggregated": clairvoyant_aggregated,
    "foresight": foresight,
    "asked": asked,
}
# Named by their fleet, as in static:3:5.
BY_FLEET = ("static", "hybrid", "asked")
# Their engines start at once.
BOUNDS = ("clairvoyant", "clairvoyant-aggregated")
