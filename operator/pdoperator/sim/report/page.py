"""The report: one page, a tab a policy and one to compare, that opens offline in any browser."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from pdoperator.api.values import ratio_text
from pdoperator.sim.report.compare import comparison
from pdoperator.sim.report.policy import policy_tab
from pdoperator.sim.runs import Run
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.traffic.trace import Trace


def write_report(
    path: Path, trace: Trace, scenario: Scenario, runs: Sequence[Run], bound: Run | None
) -> None:
    """Write the page. Raises OSError."""
    path.write_text(page(trace, scenario, runs, bound), encoding="utf-8")


def page(trace: Trace, scenario: Scenario, runs: Sequence[Run], bound: Run | None) -> str:
    """The whole page as HTML; `bound` may be None, and the page says so."""
    several = len({run.summary.seed for run in runs}) > 1
    tabs = [("Compare", comparison(trace, runs, bound))]
    for run in [*runs, *([] if bound is None else [bound])]:
        name = f"{run.policy} · seed {run.summary.seed}" if several else run.policy
        tabs.append((name, policy_tab(trace, scenario, run, bound)))
    style = files("pdoperator.sim.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>pdctl replay: {escape(trace.name)}</title><style>{style}{_tab_rules(len(tabs))}</style></head><body>"
        f"<h1>Replay of {escape(trace.name)}</h1>{_facts(trace, scenario)}{_tabs(tabs)}</body></html>\n"
    )


def _facts(trace: Trace, scenario: Scenario) -> str:
    profile = scenario.profile
    budget = "none" if scenario.gpu_budget is None else f"{scenario.gpu_budget} GPUs"
    return (
        f"<p>{len(trace):,} requests over {trace.span_s / 3600:.4g} h, {len(trace) / trace.span_s:.4g} req/s; mean "
        f"input {trace.input_tokens.mean():.0f} and output {trace.output_tokens.mean():.0f} tokens. Targets: TTFT "
        f"{scenario.ttft_s:g} s, TPOT {scenario.tpot_s * 1e3:g} ms. Engines of {profile.gpus_per_replica} GPU(s) that "
        f"start in {scenario.startup_s:g} s; all policies but fixed splits begin with {ratio_text(scenario.first)}; "
        f"budget: {budget}.</p>"
    )


def _tabs(tabs: Sequence[tuple[str, str]]) -> str:
    inputs = "".join(
        f"<input class=tab type=radio name=tab id=t{i}{' checked' if i == 0 else ''}>"
        for i in range(len(tabs))
    )
    labels = "".join(f"<label for=t{i}>{escape(name)}</label>" for i, (name, _) in enumerate(tabs))
    sections = "".join(f"<section id=s{i}>{body}</section>" for i, (_, body) in enumerate(tabs))
    return f"{inputs}<nav class=bar>{labels}</nav>{sections}"


def _tab_rules(count: int) -> str:
    """Which section a chosen tab shows: no script is needed."""
    shown = ",".join(f"#t{i}:checked~#s{i}" for i in range(count))
    chosen = ",".join(f"#t{i}:checked~nav label[for=t{i}]" for i in range(count))
    focused = ",".join(f"#t{i}:focus-visible~nav label[for=t{i}]" for i in range(count))
    return (
        f"{shown}{{display:block}}{chosen}{{background:var(--fg);color:var(--bg)}}"
        f"{focused}{{outline:2px solid var(--p)}}"
    )
