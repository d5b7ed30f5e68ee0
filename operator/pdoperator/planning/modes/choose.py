"""Which mode: the spec's, or for mode Auto the one that needs fewer engines, with hysteresis in minutes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pdoperator.api import defaults
from pdoperator.api.autoscaling import Strategy
from pdoperator.api.spec import Mode
from pdoperator.api.values import PerRole, total
from pdoperator.planning.constraints.pause import active_pauses
from pdoperator.planning.decision import Candidate
from pdoperator.planning.modes.memory import Needs
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.split import split
from pdoperator.planning.strategies.strategy import Context


@dataclass(frozen=True, slots=True)
class Choice:
    """The mode from now on, why, and what the other would have taken. `leaning_s` as in ModeMemory."""

    mode: Mode
    evidence: tuple[str, ...] = ()
    other: Candidate | None = None
    leaning_s: float | None = None


def mode_of(target: PerRole[int]) -> Mode:
    """The mode of a fleet: one without prefill engines is aggregated."""
    return Mode.DISAGGREGATED if target.prefill else Mode.AGGREGATED


def choose(context: Context, found: Needs | None) -> Choice:
    """The mode. `found` are the needs of the demand that is forecast; None: there is none, or it is not known."""
    settings = context.settings
    if settings.mode is not Mode.AUTO:
        return Choice(settings.mode, _doubt(settings, found))
    if not settings.enabled or settings.strategy is Strategy.STATIC:
        return Choice(
            Mode.DISAGGREGATED, ("mode Auto: prefill and decode are as written, for a person sets the size",)
        )
    now = mode_of(context.current)
    obstacle = _obstacle(context)
    if obstacle or found is None:
        why = obstacle or "no load to weigh the modes by"
        return Choice(now, (f"mode Auto: stays {now.value}, {why}",))
    return _weighed(context, now, found)


def _doubt(settings: PlanSettings, found: Needs | None) -> tuple[str, ...]:
    """What speaks against the mode that the spec asks for."""
    if settings.mode is Mode.DISAGGREGATED or found is None or math.isfinite(found.aggregated):
        return ()
    return ("no number of aggregated engines meets the targets under this load: sized as if disaggregated",)


def _obstacle(context: Context) -> str:
    settings, at_s = context.settings, context.observation.at_s
    if not settings.profile_named:
        return "what an engine of this model can do is not known: name hardware.profile or give inlineProfile"
    if active_pauses(settings.pauses, at_s):
        return "for changes are paused"
    return ""


def _weighed(context: Context, now: Mode, found: Needs) -> Choice:
    """The other mode once it has needed MODE_GAIN fewer engines for MODE_HOLD_S without a break."""
    at_s, leaning_s = context.observation.at_s, context.history.mode.leaning_s
    then = Mode.AGGREGATED if now is Mode.DISAGGREGATED else Mode.DISAGGREGATED
    engines = _engines(found, context.settings)
    figures = " and ".join(f"{count:.1f} {mode.value.lower()}" for mode, count in engines.items())
    weighed = f"mode Auto: the load takes {figures} engines"
    if engines[then] > (1 - defaults.MODE_GAIN) * engines[now]:
        why = f"{then.value.lower()} would not save {defaults.MODE_GAIN:.0%} of the engines"
        return Choice(now, (f"{weighed}; stays {now.value}",), _fleet(then, found, context.settings, why))
    since_s = at_s if leaning_s is None else leaning_s
    held_s = at_s - since_s
    if held_s < defaults.MODE_HOLD_S:
        why = f"{then.value.lower()} has been better for {held_s:.0f} s, {defaults.MODE_HOLD_S:.0f} s are asked for"
        text = f"{weighed}; {why}"
        return Choice(now, (text,), _fleet(then, found, context.settings, why), since_s)
    why = f"{now.value.lower()} takes more for {held_s:.0f} s"
    text = f"{weighed}; {why}: {then.value} from now on"
    return Choice(then, (text,), _fleet(now, found, context.settings, why))


def _engines(found: Needs, settings: PlanSettings) -> dict[Mode, float]:
    """Engines by mode, minReplicas at least: where these suffice neither mode is the better one."""
    least = total(settings.least)
    return {Mode.DISAGGREGATED: max(least, found.both), Mode.AGGREGATED: max(least, found.aggregated)}


def _fleet(mode: Mode, found: Needs, settings: PlanSettings, rejected: str) -> Candidate | None:
    """The fleet of the mode that was not chosen; none where no number of engines would do."""
    engines = _engines(found, settings)[mode]
    if not math.isfinite(engines):
        return None
    if mode is Mode.AGGREGATED:
        return Candidate(PerRole(0, math.ceil(engines)), rejected)
    return Candidate(split(math.ceil(engines), found.prefill_per_decode, settings.limits), rejected)
