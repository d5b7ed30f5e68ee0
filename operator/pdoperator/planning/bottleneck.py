"""Which side limits a service now, and the figures that say so.

Attribution comes before any engine is spent: KV that decode cannot take yet looks like load on prefill (its cache
fills, its queue grows), and a prompt's own prefill time cannot be shortened by more engines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.reasons import Bottleneck
from pdoperator.api.values import PerRole
from pdoperator.planning.observation import Observation
from pdoperator.planning.readings import exporting, fresh, kv_use, readings, waiting
from pdoperator.planning.settings import PlanSettings

_SIDES = {Role.PREFILL: Bottleneck.PREFILL, Role.DECODE: Bottleneck.DECODE}


@dataclass(frozen=True, slots=True)
class Finding:
    """The bottleneck and its evidence: sentences with figures."""

    bottleneck: Bottleneck
    evidence: tuple[str, ...]


def find_bottleneck(settings: PlanSettings, observation: Observation, wanted: PerRole[int]) -> Finding:
    """What is measured goes before what is merely wanted: the first sign that is there, and what explains it."""
    signs: tuple[Callable[[], Finding | None], ...] = (
        lambda: _kv_full(observation),
        lambda: _transfers(observation),
        lambda: _queues(observation, settings),
        lambda: _slow_decode(settings, observation),
        lambda: _before_the_engines(settings, observation),
        lambda: _too_few_ready(observation, wanted),
    )
    for sign in signs:
        found = sign()
        if found is not None:
            return found
    return Finding(Bottleneck.NONE, ())


def decode_holds_kv(observation: Observation) -> str:
    """The evidence that decode has no room for more KV, so that more prefill would only wait; empty: it has room."""
    use = readings(observation.engines, Role.DECODE, kv_use)
    mean = use.mean
    if mean is None or mean < defaults.KV_FULL:
        return ""
    return f"KV of {_engines(len(use.values), Role.DECODE)} is {mean:.0%} full (limit {defaults.KV_FULL:.0%})"


def _kv_full(observation: Observation) -> Finding | None:
    full = decode_holds_kv(observation)
    if not full:
        return None
    held = sum(readings(observation.engines, Role.PREFILL, exporting).values)
    waits = (f"{held:.0f} finished prefills wait for it",) if held else ()
    return Finding(Bottleneck.DECODE, (full, *waits))


def _transfers(observation: Observation) -> Finding | None:
    """Decode has room, and yet finished KV piles up on prefill, or transfers fail."""
    evidence = tuple(_slow_transfers(observation)) + tuple(_failed_transfers(observation))
    return Finding(Bottleneck.KV_TRANSFER, evidence) if evidence else None


def _slow_transfers(observation: Observation) -> Iterator[str]:
    held = readings(observation.engines, Role.PREFILL, exporting)
    if held.mean is not None and held.mean >= defaults.QUEUE_LONG:
        yield (
            f"{held.mean:.1f} finished prefills per engine wait to be fetched (limit {defaults.QUEUE_LONG:g}),"
            " though decode has room"
        )


def _failed_transfers(observation: Observation) -> Iterator[str]:
    seen = fresh(observation.transfers)
    if seen is None:
        return
    failed, total = seen.failed + seen.expired, seen.done + seen.failed + seen.expired
    if total and failed > defaults.TRANSFERS_FAILED_SHARE * total:
        yield f"{failed} of {total} KV transfers failed or came too late"


def _queues(observation: Observation, settings: PlanSettings) -> Finding | None:
    """The role with the longer queue per engine, if that is long."""
    means = {role: readings(observation.engines, role, waiting).mean or 0.0 for role in _SIDES}
    role = max(means, key=lambda r: means[r])
    if means[role] < defaults.QUEUE_LONG:
        return None
    queue = f"{means[role]:.1f} requests wait per {role.value} engine (limit {defaults.QUEUE_LONG:g})"
    alone = _slow_prompts(settings, observation) if role is Role.PREFILL else ()
    return Finding(_SIDES[role], (queue, *alone))


def _slow_decode(settings: PlanSettings, observation: Observation) -> Finding | None:
    tpot_s = fresh(observation.tpot_s)
    if tpot_s is None or tpot_s <= settings.tpot_target_s:
        return None
    text = f"TPOT {tpot_s * 1e3:.0f} ms is beyond its target of {settings.tpot_target_s * 1e3:.0f} ms"
    return Finding(Bottleneck.DECODE, (text,))


def _before_the_engines(settings: PlanSettings, observation: Observation) -> Finding | None:
    """TTFT is missed while no engine has a queue now: prompts take that long, have waited, or wait at the router."""
    ttft_s = fresh(observation.ttft_s)
    queue = readings(observation.engines, Role.PREFILL, waiting).mean
    if ttft_s is None or ttft_s <= settings.ttft_target_s or queue is None or queue >= 1:
        return None
    text = (
        f"TTFT {ttft_s:.2f} s is beyond its target of {settings.ttft_target_s:g} s, and prefill has no queue"
    )
    alone, times = _slow_prompts(settings, observation), fresh(observation.prefill_times)
    told = (
        ()
        if times is None
        else (
            f"prompts wait {times.wait_s:.2f} s in front of prefill engines and take {times.service_s:.2f} s there",
        )
    )
    if alone:
        return Finding(Bottleneck.NONE, (text, *alone, *told))
    if times is not None and times.wait_s + times.service_s > ttft_s / 2:
        return Finding(
            Bottleneck.PREFILL if times.wait_s > times.service_s else Bottleneck.NONE, (text, *told)
        )
    return Finding(Bottleneck.ROUTER, (text, "requests wait before they reach an engine", *told))


def _slow_prompts(settings: PlanSettings, observation: Observation) -> tuple[str, ...]:
    demand = fresh(observation.demand)
    if demand is None:
        return ()
    alone_s = settings.profile.ttft.at(demand.isl_tokens, demand.isl_tokens**2)
    if alone_s <= settings.ttft_target_s:
        return ()
    return (f"a prompt of mean length takes {alone_s:.2f} s alone: more prefill engines cannot shorten that",)


def _too_few_ready(observation: Observation, wanted: PerRole[int]) -> Finding | None:
    """The role that lacks the most ready engines of those it needs."""
    serving = Counter(engine.role for engine in observation.engines if engine.usable)
    role = max(_SIDES, key=lambda r: wanted[r] - serving[r])
    if wanted[role] <= serving[role]:
        return None
    return Finding(_SIDES[role], (f"{serving[role]} of {_engines(wanted[role], role)} needed are ready",))


def _engines(count: int, role: Role) -> str:
    return f"{count} {role.value} engine{'' if count == 1 else 's'}"
