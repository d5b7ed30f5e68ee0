"""How fast the simulator is: requests per second and peak memory by number of engines, a static policy, one core.

Each size runs in a process of its own, so that its peak memory is its own; what compiling takes is left out.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import time

import click
import numpy as np

from pdoperator.api.values import PerRole
from pdoperator.capacity.builtin import BUILTIN
from pdoperator.sim.policies.catalogue import prepare
from pdoperator.sim.policies.work import request_work
from pdoperator.sim.replay import replay
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.traffic.synthetic import lognormal, poisson
from pdoperator.sim.traffic.trace import Trace

SIZES = (1, 4, 16, 64, 256)
REQUESTS = 166_000  # what a day of a small service brings
LOAD = 0.6
PROFILE = "h200-llama-3.1-8b-fp8-tp1"
TTFT_S, TPOT_S = 2.0, 0.08
LENGTHS = lognormal(1155, 0.96, 211, 1.1)  # as Azure's conversation trace of 2023 has them


def measure(engines: int, requests: int) -> dict[str, float]:
    """One static replay; a single engine is aggregated."""
    profile = BUILTIN[PROFILE]
    sample = poisson(100.0, 60.0, LENGTHS, seed=1)
    prefill_s, decode_s, _ = (float(x.mean()) for x in request_work(sample, profile, TPOT_S))
    rate_rps = LOAD * engines / (prefill_s + decode_s)
    trace = poisson(rate_rps, requests / rate_rps, LENGTHS, seed=0)
    prefill = round(engines * prefill_s / (prefill_s + decode_s))
    split = PerRole(min(engines - 1, max(1, prefill)), 0)
    name = "aggregated:engines=1" if engines == 1 else f"static:{split.prefill}:{engines - split.prefill}"
    scenario = Scenario(profile, TTFT_S, TPOT_S, PerRole(1, 1), max_engines=max(2, engines))
    first = Trace.of("first", trace.arrival_s[:500], trace.input_tokens[:500], trace.output_tokens[:500])
    for warm_up in (first, trace):
        policy, prepared = prepare(name, warm_up, scenario)
        begin_s = time.process_time()
        outcome = replay(warm_up, prepared, policy)
    cpu_s = time.process_time() - begin_s
    assert bool(np.all(outcome.finished))
    return {
        "engines": engines,
        "requests": len(trace),
        "requests_per_s": len(trace) / cpu_s,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--requests", default=REQUESTS, show_default=True)
def main(as_json: bool, requests: int) -> None:
    """Measure every size."""
    context = multiprocessing.get_context("spawn")
    rows = []
    for engines in SIZES:
        with context.Pool(1) as pool:
            rows.append(pool.apply(measure, (engines, requests)))
        print(f"{engines:4d} engines: {rows[-1]['requests_per_s']:,.0f} requests/s", file=sys.stderr)
    if as_json:
        click.echo(json.dumps({"clock": "CPU seconds of one process", "sizes": rows}))


if __name__ == "__main__":
    main()
