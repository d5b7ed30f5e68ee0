"""The history that decisions are taken on, as texts and back. Pure; tenths of a second of CPU: call it in a thread."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from pdoperator.api.values import PerRole
from pdoperator.forecast.demand import Demand, DemandHistory, Sample
from pdoperator.forecast.load_forecast import LoadForecast
from pdoperator.forecast.load_text import UnreadableHistoryError
from pdoperator.planning import dry_run
from pdoperator.planning.decision import History
from pdoperator.planning.error_budget import ErrorBudget
from pdoperator.planning.modes.memory import ModeMemory
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.strategies.registry import RESTORES
from pdoperator.planning.strategies.strategy import Lasting

_STATE = "state."


@dataclass(frozen=True, slots=True)
class Past:
    """Demand before our time: `recent` in steps of an interval, `weeks` of it in coarse steps. Empty: not known."""

    recent: Sequence[Sample] = ()
    weeks: Sequence[Sample] = ()


def history_to_texts(history: History) -> dict[str, str]:
    """All that shall survive, by name."""
    texts = {
        "demand": demand_to_text(history.demand),
        "mode": history.mode.to_text(),
        "budget": history.budget.to_text(),
    }
    if history.dry_run is not None:
        texts["dryRun"] = dry_run.to_text(history.dry_run)
    if history.rate is not None:
        texts["rate"] = history.rate.to_text()
    if isinstance(history.state, Lasting) and history.strategy is not None:
        texts["strategy"] = history.strategy.value
        texts |= {_STATE + name: text for name, text in history.state.to_texts().items()}
    return texts


def history_from_texts(
    texts: Mapping[str, str], past: Past, settings: PlanSettings, target: PerRole[int]
) -> History:
    """What was written down, and where nothing was, what is known of the past otherwise."""
    demand = demand_from_text(texts.get("demand", ""), settings.window)
    if not demand.samples:
        demand = DemandHistory(settings.window, tuple(past.recent[-settings.window :]))
    return History(
        demand,
        target=target,
        rate=_rate(texts.get("rate", ""), past, settings),
        dry_run=dry_run.from_text(texts.get("dryRun", "")),
        budget=ErrorBudget.from_text(texts.get("budget", "")),
        mode=ModeMemory.from_text(texts.get("mode", "")),
        strategy=settings.strategy,
        state=_state(texts, past, settings),
    )


def demand_to_text(history: DemandHistory) -> str:
    """Rows of time and the fields of Demand, four digits each."""
    rows = [[round(s.at_s), *(float(f"{x:.4g}") for x in astuple(s.demand))] for s in history.samples]
    return json.dumps(rows, separators=(",", ":"))


def demand_from_text(text: str, limit: int) -> DemandHistory:
    """What `demand_to_text` wrote; nothing in anything else, which another version may have written."""
    try:
        samples = tuple(Sample(float(at_s), Demand(*map(float, row))) for at_s, *row in json.loads(text))
    except (ValueError, TypeError):
        return DemandHistory(limit)
    return DemandHistory(limit, samples[-limit:])


def _rate(text: str, past: Past, settings: PlanSettings) -> LoadForecast | None:
    if text:
        try:
            return LoadForecast.from_text(text)
        except UnreadableHistoryError:
            return None
    if not past.weeks:
        return None
    at_s = np.array([sample.at_s for sample in past.weeks])
    rates = np.array([sample.demand.rate_rps for sample in past.weeks], dtype=float)
    return LoadForecast.backfilled(settings.interval_s, at_s, np.where(np.isfinite(rates), rates, math.nan))


def _state(texts: Mapping[str, str], past: Past, settings: PlanSettings) -> object:
    restore = RESTORES.get(settings.strategy)
    if restore is None:
        return None
    same = texts.get("strategy") == settings.strategy.value
    mine = {name.removeprefix(_STATE): text for name, text in texts.items() if name.startswith(_STATE)}
    return restore(settings, mine if same else {}, past.weeks)
