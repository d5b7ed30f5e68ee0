"""Adaptive's state again after a restart: from its texts, or from demand before our time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pdoperator.api.values import PerRole
from pdoperator.forecast.buckets import Floats
from pdoperator.forecast.demand import Demand, Sample
from pdoperator.forecast.load_forecast import LoadForecast
from pdoperator.planning.adaptive.needs import Sizer
from pdoperator.planning.adaptive.state import AdaptiveState
from pdoperator.planning.settings import PlanSettings


def restore(settings: PlanSettings, texts: Mapping[str, str], samples: Sequence[Sample]) -> AdaptiveState:
    """What the state's `to_texts` wrote; where there is none or it cannot be read, what the samples tell."""
    try:
        shape = Demand(**json.loads(texts["shape"]))
        total, prefill, decode = (
            LoadForecast.from_text(texts[key]) for key in ("total", "prefill", "decode")
        )
    except (KeyError, TypeError, ValueError):
        return _from_samples(settings, samples)
    if total.interval_s != settings.interval_s:
        return _from_samples(settings, samples)
    return AdaptiveState(total, PerRole(prefill, decode), shape)


def _from_samples(settings: PlanSettings, samples: Sequence[Sample]) -> AdaptiveState:
    state = AdaptiveState.empty(settings.interval_s)
    if not samples:
        return state
    busy = []
    for sample in samples:
        state = state.with_shape(sample.demand, settings.interval_s)
        load = Sizer.of(sample.demand, settings).busy(sample.demand.rate_rps)
        busy.append((load.prefill, load.decode))
    at_s, loads = np.array([sample.at_s for sample in samples]), np.array(busy)

    def filled(load: Floats) -> LoadForecast:
        return LoadForecast.backfilled(settings.interval_s, at_s, load)

    return replace(
        state, total=filled(loads.sum(axis=1)), roles=PerRole(filled(loads[:, 0]), filled(loads[:, 1]))
    )
