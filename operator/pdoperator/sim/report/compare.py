"""The tab that compares: all figures side by side, cost against attainment, engines over time."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from pdoperator.sim.report.plot import BOTTOM, RIGHT, TOP, WIDTH, Plot, Points, nice_ticks, short, top_of
from pdoperator.sim.runs import Run
from pdoperator.sim.traffic.trace import Trace

HEADINGS = ("policy", "seed", "attained", "TTFT s", "TPOT ms", "req/s/GPU", "GPU-h", "× bound", "flips", "scaled",
            "failed")  # fmt: skip
ROW = 20  # pixels a policy
CHARACTER = 6.5  # pixels, of a name
COLOURS = ("p-ready", "d-ready", "p50", "forecast", "missed", "p99", "bound")


def comparison(trace: Trace, runs: Sequence[Run], bound: Run | None) -> str:
    """The tab's HTML."""
    everyone = [*runs, *([] if bound is None else [bound])]
    note = (
        "<p>No lower bound was found or asked for.</p>"
        if bound is None
        else f"<p>The bound, {escape(bound.setting)}, knows the future and starts engines at once; nothing real can "
        "cost less by much.</p>"
    )
    return "".join((_table(everyone, bound), note, _cost(everyone), _fleets(trace, everyone)))


def _table(runs: Sequence[Run], bound: Run | None) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(run, bound))}</tr>" for run in runs)
    return f"<p>TTFT and TPOT: p50 / p90 / p99.</p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cells(run: Run, bound: Run | None) -> list[str]:
    one = run.summary
    css = "yes" if one.attains else "no"
    latencies = (one.ttft_p50_s, one.ttft_p90_s, one.ttft_p99_s)
    gaps = (one.tpot_p50_s, one.tpot_p90_s, one.tpot_p99_s)
    return [
        f'<span title="{escape(run.setting)}">{escape(run.policy)}</span>',
        f"{one.seed}",
        f'<span class="{css}">{one.attainment:.2%}</span>',
        " / ".join(f"{x:.3g}" for x in latencies),
        " / ".join(f"{x * 1e3:.3g}" for x in gaps),
        f"{one.goodput_rps_per_gpu:.3g}",
        f"{one.gpu_hours:,.1f}",
        "–" if bound is None else f"{one.gpu_hours / bound.summary.gpu_hours:.2f}",
        f"{one.flips}",
        f"{one.scale_events}",
        f"{one.failed}",
    ]


def _cost(runs: Sequence[Run]) -> str:
    """GPU-hours as bars, the colour telling whether the policy attains."""
    top = max(run.summary.gpu_hours for run in runs) * 1.08
    height = TOP + ROW * len(runs) + BOTTOM
    names = [f"{run.policy} · {run.summary.seed}" for run in runs]
    left = 16 + CHARACTER * max(map(len, names))

    def x(hours: float) -> float:
        return left + hours / top * (WIDTH - left - RIGHT)

    parts = []
    for hours in nice_ticks(top):
        parts.append(
            f'<line class="grid" x1="{x(hours):.1f}" x2="{x(hours):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>'
        )
        parts.append(f'<text x="{x(hours):.1f}" y="{height - 8}" text-anchor="middle">{short(hours)}</text>')
    for i, (name, run) in enumerate(zip(names, runs, strict=True)):
        one, y = run.summary, TOP + ROW * i
        css = "p50" if one.attains else "missed"
        width = x(one.gpu_hours) - left
        parts.append(f'<text x="{left - 8:.1f}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect class="dot {css}" x="{left:.1f}" y="{y + 3}" width="{width:.1f}" height="{ROW - 6}">'
            f"<title>{one.gpu_hours:.1f} GPU-hours, {one.attainment:.2%}</title></rect>"
        )
    return (
        "<figure><figcaption><b>GPU-hours</b><span class=legend><span><i class='key p50'></i>attains</span>"
        "<span><i class='key missed'></i>does not</span></span></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="GPU-hours">{"".join(parts)}</svg></figure>'
    )


def _fleets(trace: Trace, runs: Sequence[Run]) -> str:
    """Engines that exist, policy by policy, those of the first seed."""
    first = {run.policy: run for run in reversed(runs)}
    totals = {name: _existing(run) for name, run in reversed(first.items())}
    plot = Plot(trace.span_s, top_of(list(totals.values()), 1.0), "engines", height=200)
    for i, (name, total) in enumerate(totals.items()):
        plot.line(first[name].series.t_s, total, COLOURS[i % len(COLOURS)], name, step=True)
    return plot.svg("Engines over time")


def _existing(run: Run) -> Points:
    counts = [count for key, count in run.series.engines.items() if not key.startswith("target")]
    total: Points = np.sum(counts, axis=0)
    return total
