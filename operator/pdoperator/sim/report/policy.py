"""A policy's tab: its figures, and over time the load, the engines under it, latencies and misses."""

from __future__ import annotations

from html import escape

import numpy as np

from pdoperator.sim.report.plot import Plot, Points, top_of
from pdoperator.sim.report.series import Series
from pdoperator.sim.runs import Run
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.traffic.trace import Trace

LATENCY_LINES = ("p50", "p90", "p99")
DECADES = 3.5  # of a latency axis, most of it below the target


def policy_tab(trace: Trace, scenario: Scenario, run: Run, bound: Run | None) -> str:
    """The tab's HTML."""
    series, span_s = run.series, trace.span_s
    return "".join(
        (
            _figures(run, bound),
            _load(series, span_s),
            _tokens(series, span_s),
            _engines(series, span_s),
            _latency(series.t_s, series.ttft_s, span_s, scenario.ttft_s, "TTFT", 1.0, "s"),
            _latency(series.t_s, series.tpot_s, span_s, scenario.tpot_s, "TPOT", 1e3, "ms"),
            _misses(series, span_s),
        )
    )


def _figures(run: Run, bound: Run | None) -> str:
    one = run.summary
    over = "" if bound is None else f"{one.gpu_hours / bound.summary.gpu_hours:.2f}"
    verdict = '<b class="yes">attains</b>' if one.attains else '<b class="no">does not attain</b>'
    facts = [
        (f"{one.attainment:.2%}", f"within both targets, of {one.attainable:.2%} attainable"),
        (f"{one.gpu_hours:.1f}", "GPU-hours"),
        *([(over, "times the bound")] if over else []),
        (f"{one.goodput_rps_per_gpu:.3g}", "good req/s per GPU"),
        (f"{one.flips}", "role flips"),
        (f"{one.scale_events}", "changes of target"),
        (f"{one.failed}", "failed"),
    ]
    boxes = "".join(f"<div><b>{value}</b><span>{what}</span></div>" for value, what in facts)
    setting = "" if run.setting == run.policy else f", found as <code>{escape(run.setting)}</code>"
    return (
        f"<h2>{escape(run.policy)}{setting}</h2><div class=facts><div>{verdict}"
        f"<span>seed {one.seed}</span></div>{boxes}</div>"
    )


def _load(series: Series, span_s: float) -> str:
    forecast_s, forecast = series.forecast
    plot = Plot(span_s, top_of([series.rate_rps, forecast]), "req/s")
    plot.area(series.t_s, np.zeros_like(series.rate_rps), series.rate_rps, "load", "arrivals")
    if len(forecast):
        plot.line(forecast_s, forecast, "forecast", "forecast for that time")
    return plot.svg("Load" if not len(forecast) else "Load and forecast")


def _tokens(series: Series, span_s: float) -> str:
    plot = Plot(span_s, top_of([series.input_tokens_per_s, series.output_tokens_per_s]), "tok/s", height=110)
    plot.line(series.t_s, series.input_tokens_per_s, "in", "input")
    plot.line(series.t_s, series.output_tokens_per_s, "out", "output")
    return plot.svg("Tokens of the requests that arrive")


def _engines(series: Series, span_s: float) -> str:
    engines = series.engines
    layers = (
        ("p-ready", "prefill ready", engines["prefill_ready"]),
        ("d-ready", "decode ready", engines["decode_ready"]),
        ("starting", "starting", engines["prefill_starting"] + engines["decode_starting"]),
        ("draining", "draining", engines["prefill_draining"] + engines["decode_draining"]),
    )
    wanted = engines["target_prefill"] + engines["target_decode"]
    total = np.sum([count for _, _, count in layers], axis=0)
    plot = Plot(span_s, top_of([total, wanted], 1.0), "engines")
    low = np.zeros_like(total)
    for css, label, count in layers:
        plot.area(series.t_s, low, low + count, css, label)
        low = low + count
    plot.line(series.t_s, wanted, "wanted", "target", step=True)
    return plot.svg("Engines")


def _latency(
    t_s: Points, rows: Points, span_s: float, target_s: float, name: str, factor: float, unit: str
) -> str:
    finite = rows[np.isfinite(rows)]
    top = max(10 * target_s, float(finite.max()) if len(finite) else 0.0) * factor
    plot = Plot(span_s, top, unit, floor=top / 10**DECADES)
    for css, row in zip(LATENCY_LINES, rows, strict=True):
        plot.line(t_s, row * factor, css, css)
    plot.level(target_s * factor, "target", f"target {target_s * factor:g} {unit}")
    return plot.svg(f"{name} by arrival, logarithmic")


def _misses(series: Series, span_s: float) -> str:
    missed = np.nan_to_num(series.missed) * 100
    plot = Plot(span_s, top_of([missed], 1.0), "%", height=90)
    plot.area(series.t_s, np.zeros_like(missed), missed, "missed", "missed a target or failed")
    return plot.svg("Misses by arrival")
