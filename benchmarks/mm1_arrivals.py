"""How far M/M/1 is off under real arrivals: prefill fleets sized by it, then replayed. Writes one JSON object.

    python benchmarks/mm1_arrivals.py --json [TRACE …]

Without traces: Poisson arrivals and arrivals as bursty as Azure's code trace of 2023, with lengths of its slice in this
repository. A trace is scaled to the work of eight engines, so that rounding up does not hide the difference.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import click

from pdoperator.capacity.builtin import BUILTIN
from pdoperator.capacity.replayed import check_mm1
from pdoperator.sim.traffic import synthetic, transform
from pdoperator.sim.traffic.loaders import load
from pdoperator.sim.traffic.statistics import statistics
from pdoperator.sim.traffic.trace import Trace

PROFILE = "h100-llama-3.3-70b-fp8-tp4"
OVERHEAD_S, PERCENTILE = 0.1, 90.0
UTILISATION_ENGINES = 8.0  # prefill engines' worth of work
SLICE = Path(__file__).parents[1] / "e2e" / "demo" / "traces" / "azure2023_code.csv"
CODE_CV = 13.15  # of the inter-arrival times of the whole code trace
SEED = 1


def built_in() -> list[Trace]:
    """Both with the same lengths and mean rate."""
    lengths = synthetic.as_in(load(SLICE))
    rates = [(0.0, 30.0), (3600.0, 30.0)]
    return [
        synthetic.drawn("poisson", rates, synthetic.POISSON, lengths, SEED),
        synthetic.drawn("code-like bursts", rates, CODE_CV**-2, lengths, SEED),
    ]


def row(trace: Trace, target_s: float) -> dict[str, Any]:
    """One trace, by a profile of 70B on four GPUs and this target for the P90 of TTFT."""
    ttft = BUILTIN[PROFILE].ttft
    work_s = float(
        (ttft.a + ttft.b * trace.input_tokens + ttft.c * trace.input_tokens.astype(float) ** 2).sum()
    )
    scaled = transform.scaled(trace, UTILISATION_ENGINES * trace.span_s / work_s, SEED)
    found = check_mm1(scaled.arrival_s, scaled.input_tokens, ttft, target_s, OVERHEAD_S, PERCENTILE)
    figures = statistics(trace)
    return {
        "trace": trace.name,
        "arrival_cv": figures.arrival_cv,
        "fano_10s": figures.fano_10s,
        **dataclasses.asdict(found),
    }


@click.command()
@click.argument("traces", nargs=-1, type=click.Path(path_type=Path))
@click.option("--ttft", type=float, default=2.0, help="Target in seconds.")
@click.option("--json", "as_json", is_flag=True, required=True)
def main(traces: tuple[Path, ...], ttft: float, as_json: bool) -> None:
    """How far M/M/1 is off under real arrivals."""
    try:
        rows = [row(trace, ttft) for trace in ([load(path) for path in traces] if traces else built_in())]
    except ValueError as error:
        sys.exit(f"mm1_arrivals: {error}")
    print(json.dumps({"profile": PROFILE, "ttft_s": ttft, "percentile": PERCENTILE, "traces": rows}))


if __name__ == "__main__":
    main()
