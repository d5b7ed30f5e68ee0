"""Autoscaling policies on public traces through the simulator: who attains, and at what cost over the bound.

The matrix of algorithms.md X1 to X3: each trace on two profiles and two pairs of targets, three seeds, published
settings; on the large profile at the loose targets also more bounds, Adaptive without a part, and on two traces the
best of a small grid; on two traces start-up and burstiness are swept. Rows are kept in build/policies: an interrupted
run goes on where it stopped. One row again:
`python benchmarks/policies.py --again --row 'azure2023-conv/*/2s-80ms/*/dyn-sla'`. Prints one JSON object.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any

import click
from matrix.policies_page import CLAIRVOYANT, write_page
from matrix.rows import Answer, Bench, Cell, NotKeptError
from matrix.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parents[1]
PROFILES = {
    "h200-llama-3.1-8b-fp8-tp1": ((2.0, 0.08), (0.5, 0.025)),
    "h100-llama-3.3-70b-fp8-tp4": ((2.0, 0.08), (1.0, 0.04)),
}
STARTUP_S = 120.0
SPLITS = ("static-best", "hybrid-best", "aggregated-best", "arrow-best", "static:1:1", "static:1:3")
PUBLISHED = (
    "hpa", "keda-queue", "dyn-load", "dyn-sla", "heteroscale", "tokenscale", "wva-v2", "dopd-release",
    "aggregated-hpa",
)  # fmt: skip
OURS = (
    "reactive",
    "mm1:interval=180",
    "dopd:interval=180",
    "adaptive",
    "adaptive:percentile=99",
)
POLICIES = (*CLAIRVOYANT, *SPLITS, *PUBLISHED, *OURS)
# What takes many replays each, or minutes a replay, or tells what a part is worth: once per trace, and grids on a
# steady trace and a bursty one, both at the loose targets.
ONCE = ("clairvoyant-aggregated", "foresight", "dynamo", "auto", "auto:aggregated")
GRIDS = tuple(f"{name}-best" for name in (*PUBLISHED, "dynamo"))
TUNED = ("azure2023-conv", "azure2023-code")
STARTUPS_S = (30.0, 60.0, 300.0)  # swept beside STARTUP_S
SPREADS_S = (60.0, 10.0, 1.0)  # burstiness, swept beside the workload's own
SWEPT = ("azure2023-conv", "code-conv-code")
SWEPT_PROFILE = "h100-llama-3.3-70b-fp8-tp4"  # at the loose targets
STARTING = ("hpa", "mm1:interval=180", "dopd:interval=180", "adaptive")  # to the others start-up is nothing
BURST = ("clairvoyant", "static-best", *STARTING)
ABLATED = tuple(
    f"adaptive:{part}"
    for part in ("no-forecast", "point", "one-tick", "no-flips", "no-overflow", "no-emergency", "deferral=0")
)


def matrix(busiest_s: float = math.inf) -> list[tuple[Cell, str]]:
    """Every cell with every policy, those of a cell together; of a trace longer than `busiest_s` only that part."""
    cells = [
        Cell(trace, profile, ttft_s, tpot_s, STARTUP_S, busiest_s=_part_s(trace, busiest_s))
        for trace in WORKLOADS
        for profile, targets in PROFILES.items()
        for ttft_s, tpot_s in targets
        if not WORKLOADS[trace].loose_only or _loose(profile, tpot_s)
    ]
    loose = [cell for cell in cells if _loose(cell.profile, cell.tpot_s)]
    swept = [cell for cell in loose if cell.trace in SWEPT]
    starting = [replace(cell, startup_s=startup_s) for cell in swept for startup_s in STARTUPS_S]
    burst = [replace(cell, spread_s=spread_s) for cell in swept for spread_s in SPREADS_S]
    return [
        *product(cells, POLICIES),
        *product(starting, STARTING),
        *product(burst, BURST),
        *product(loose, (*ONCE, *ABLATED)),
        *product((cell for cell in loose if cell.trace in TUNED), GRIDS),
    ]


def _loose(profile: str, tpot_s: float) -> bool:
    """Where is run what is run once, and the workloads of one mix."""
    return profile == SWEPT_PROFILE and tpot_s == 0.08


def _part_s(trace: str, busiest_s: float) -> float:
    """Only traces of days, which have days before them, are cut."""
    return busiest_s if WORKLOADS[trace].before else math.inf


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="Print the figures as JSON (nothing else goes to stdout)."
)
@click.option(
    "--row",
    "wanted",
    default=["*"],
    multiple=True,
    help="Only rows that match: TRACE/PROFILE/TARGETS/START/POLICY with *; may be given several times.",
)
@click.option("--again", is_flag=True, help="Replay also what build/policies holds.")
@click.option("--kept", is_flag=True, help="Only rows of which build/policies holds every replay.")
@click.option(
    "--busiest-h",
    type=float,
    default=math.inf,
    help="Of traces of days only the busiest part of so many hours.",
)
@click.option("--list", "listing", is_flag=True, help="List the rows.")
@click.option(
    "--traces", type=click.Path(path_type=Path, file_okay=False), default=ROOT.parent / "shared" / "traces"
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--processes", type=click.IntRange(1), default=None)
@click.option(
    "--write/--no-write",
    default=False,
    help="Write the rows asked for into docs/results/policies.md, draw them.",
)
def main(
    as_json: bool,
    wanted: Sequence[str],
    again: bool,
    kept: bool,
    busiest_h: float,
    listing: bool,
    traces: Path,
    seeds: int,
    processes: int | None,
    write: bool,
) -> None:
    """Run the matrix, or the rows that match."""
    rows = [
        (cell, policy)
        for cell, policy in matrix(busiest_h * 3600)
        if any(fnmatch(f"{cell.name}/{policy}", pattern) for pattern in wanted)
    ]
    if not rows:
        raise click.UsageError(f"no row matches {' or '.join(wanted)}; --list shows them")
    if listing:
        click.echo("\n".join(f"{cell.name}/{policy}" for cell, policy in rows))
        return
    if not traces.is_dir():
        raise click.UsageError(f"there are no traces in {traces}; give their folder with --traces")
    bench = Bench(traces, ROOT / "build" / "policies", tuple(range(seeds)), again, kept)
    answers: list[Answer] = []
    with ProcessPoolExecutor(processes) as pool:
        futures = [pool.submit(bench.answer, cell, policy) for cell, policy in rows]
        for done, future in enumerate(futures, start=1):
            try:
                answers.append(future.result())
            except NotKeptError:
                continue
            print(f"{done}/{len(rows)} {_line(answers[-1])}", file=sys.stderr)
    if write:
        write_page(ROOT / "docs", answers, ABLATED, seeds)
    if as_json:
        click.echo(json.dumps({"rows": [_row(answer) for answer in answers]}))


def _row(answer: Answer) -> dict[str, Any]:
    found = answer.summaries
    return {
        "cell": answer.cell.name,
        "policy": answer.policy,
        "setting": answer.setting,
        "attains": [one.attains for one in found],
        "attainment": [round(one.attainment, 5) for one in found],
        "attainable": [round(one.attainable, 5) for one in found],
        "gpu_hours": [round(one.gpu_hours, 3) for one in found],
        "flips": [one.flips for one in found],
        "scale_events": [one.scale_events for one in found],
    }


def _line(answer: Answer) -> str:
    name = f"{answer.cell.name}/{answer.policy}"
    if answer.setting is None:
        return f"{name}: no setting attains"
    found = answer.summaries
    attained = "/".join(f"{one.attainment:.2%}" for one in found)
    hours = sum(one.gpu_hours for one in found) / len(found)
    return f"{name} = {answer.setting}: {attained}, {hours:.1f} GPU-h"


if __name__ == "__main__":
    main()
