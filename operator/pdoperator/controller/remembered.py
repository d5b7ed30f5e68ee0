"""The history of demand as text, and back. Pure."""

from __future__ import annotations

import json
from dataclasses import astuple

from pdoperator.forecast.demand import Demand, DemandHistory, Sample


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
