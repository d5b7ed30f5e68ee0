"""Histories as text, and back: of demand and, for forecast model Auto, of the rate. Pure."""

from __future__ import annotations

import json
from dataclasses import astuple

from pdoperator.forecast.demand import Demand, DemandHistory, Sample
from pdoperator.forecast.load_forecast import LoadForecast
from pdoperator.forecast.load_text import UnreadableHistoryError


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


def rate_from_text(text: str) -> LoadForecast | None:
    """What `LoadForecast.to_text` wrote; None in anything else. Takes tenths of a second: call it in a thread."""
    try:
        return LoadForecast.from_text(text)
    except UnreadableHistoryError:
        return None
