"""How many engines each mode needs at best, and what limits it: the table of docs/results/modes.md and its picture.

    python benchmarks/modes.py --write --traces DIR

Aggregated engines with the best chunk size, disaggregated ones, and hybrid: disaggregated, but decode engines prefill
when the prefill engines come near the TTFT target. Each is the smallest fleet that does not change and attains with
every seed, found by search. Replays are kept in build/modes: an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

import click
from matrix.limits import limits
from matrix.modes_page import MODES, Row, write_page
from matrix.rows import Bench, Cell
from matrix.workloads import WORKLOADS
from policies import PROFILES, ROOT, STARTUP_S

BUSIEST_S = {"azure2024-conv": 1200.0, "servegen-m-large": 1200.0}  # of the traces that last two days


def cells() -> list[Cell]:
    """Every trace under each pair of targets of each profile."""
    return [
        Cell(trace, profile, ttft_s, tpot_s, STARTUP_S, busiest_s=BUSIEST_S.get(trace, math.inf))
        for profile, targets in PROFILES.items()
        for ttft_s, tpot_s in targets
        for trace, workload in WORKLOADS.items()
        if not workload.loose_only
    ]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option(
    "--cell",
    "wanted",
    default=["*"],
    multiple=True,
    help="Only cells that match: TRACE/PROFILE/TARGETS/START with *; may be given several times.",
)
@click.option(
    "--traces", type=click.Path(path_type=Path, file_okay=False), default=ROOT.parent / "shared" / "traces"
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--processes", type=click.IntRange(1), default=None)
@click.option(
    "--write/--no-write", default=False, help="Write the table into docs/results/modes.md, draw it."
)
def main(
    as_json: bool, wanted: Sequence[str], traces: Path, seeds: int, processes: int | None, write: bool
) -> None:
    """Search each cell, or those that match."""
    chosen = [cell for cell in cells() if any(fnmatch(cell.name, pattern) for pattern in wanted)]
    if not chosen:
        raise click.UsageError(f"no cell matches {' or '.join(wanted)}")
    if not traces.is_dir():
        raise click.UsageError(f"there are no traces in {traces}; give their folder with --traces")
    bench = Bench(traces, ROOT / "build" / "modes", tuple(range(seeds)))
    rows = []
    with ProcessPoolExecutor(processes) as pool:
        for done, row in enumerate(pool.map(_row, [bench] * len(chosen), chosen), start=1):
            rows.append(row)
            print(f"{done}/{len(chosen)} {row.cell.name}: {row.sizes}", file=sys.stderr)
    if write:
        write_page(ROOT / "docs", rows, seeds, BUSIEST_S)
    if as_json:
        click.echo(json.dumps({"rows": [row.as_json() for row in rows]}))


def _row(bench: Bench, cell: Cell) -> Row:
    answers = {mode: bench.answer(cell, policy) for mode, policy in MODES.items()}
    found = {mode: limits(bench, answer) for mode, answer in answers.items()}
    trace, scenario, _ = bench.stage(cell, bench.seeds[0])
    return Row.of(cell, answers, found, trace, scenario)


if __name__ == "__main__":
    main()
