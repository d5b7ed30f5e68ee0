"""How well peaks of a load are forecast: each model by itself and their competition, on traces and made-up loads.

Prefill load: seconds of prefill that arrive per second. Decode load: tokens that are being written per second, each
request's spread over its time, over an engine's tokens per second. Both of a 70B model on H100 (tensor parallel 4),
scaled to ten busy engines. Steps of 5 s; the target is the highest 30 s average of the 120 s to come, asked every 30 s.
Nothing is known at the start, and only the trace's own past later. Every model has the same margins, fitted alike.

Traces are read from the folder given (CSV.gz with arrival_s, input_tokens, output_tokens); without it only the made-up
loads are run. For each load, model and quantile: coverage (share of peaks that stayed below), what was forecast too
much (mean, share of the mean peak), and the pinball loss as a share of the last value's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from pdoperator.capacity.builtin import BUILTIN
from pdoperator.forecast.buckets import Floats
from pdoperator.forecast.conformal import QUANTILES
from pdoperator.forecast.fit import NAMES, SCORED
from pdoperator.forecast.load_forecast import LoadForecast

STEP_S = 5.0
HORIZON_S, WINDOW_S, EVERY_S = 120.0, 30.0, 30.0
BUSY = 10.0
PROFILE = BUILTIN["h100-llama-3.3-70b-fp8-tp4"]
PASS_REQUESTS = 4  # prompts that share the fixed cost of a prefill pass
TOKEN_S = 0.03  # a request writes a token in this time
# Copies of a trace laid over each other, each request moved by up to two minutes: the sampled traces are a twelfth or
# less of what ten engines serve. Measured traces of an hour are not copied, which keeps their bursts.
COPIES = {
    "azure2024_conv_semisynth_1of25": 12,
    "azure2024_code_semisynth_1of25": 12,
    "servegen_m-large_synth": 10,
    "servegen_m-mid_synth": 10,
    "servegen_deepseek-r1_synth": 3,
    "azure2023_conv": 1,
    "azure2023_code": 1,
    "mooncake_conversation": 1,
}


@click.command()
@click.option("--traces", type=click.Path(path_type=Path, exists=True), help="Folder of traces.")
@click.option("--days", default=1.5, show_default=True, help="Of each trace at most.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object (the only form there is).")
def main(traces: Path | None, days: float, as_json: bool) -> None:
    rng = np.random.default_rng(1)
    loads = dict(made_up(rng))
    if traces:
        for name, copies in COPIES.items():
            loads |= {
                f"{name} {role}": load for role, load in trace_loads(traces / f"{name}.csv.gz", copies, rng)
            }
    steps = round(days * 86400 / STEP_S)
    print(
        json.dumps(
            {name: scored(load[:steps] * (BUSY / load[:steps].mean())) for name, load in loads.items()}
        )
    )


# --- loads -------------------------------------------------------------------------------------------------


def made_up(rng: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    """Steady independent arrivals; a ramp within two minutes, up and down; bursts that come and go; a day's wave."""
    t = np.arange(0, 6 * 3600, STEP_S)
    yield "steady", arrivals(np.full(len(t), 10.0), rng)
    yield (
        "ramp",
        arrivals(np.interp(t % 2400, [0, 600, 720, 1500, 1620, 2400], [0.3, 0.3, 8.5, 8.5, 0.3, 0.3]), rng),
    )
    phases = np.cumsum(rng.exponential([60.0, 180.0], (400, 2)).ravel())
    yield "on-off", arrivals(np.where(np.searchsorted(phases, t) % 2, 1.0, 12.0), rng)
    t = np.arange(0, 3 * 86400, STEP_S)
    yield "day", arrivals(10 - 8 * np.cos(2 * np.pi * t / 86400), rng)


def arrivals(rate: Floats, rng: np.random.Generator) -> Floats:
    """Load of independent requests at `rate` per second with exponential work."""
    counts = rng.poisson(rate * STEP_S)
    return rng.gamma(np.maximum(counts, 1e-9), 1.0) / STEP_S


def trace_loads(path: Path, copies: int, rng: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    arrival, isl, osl = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(0, 1, 2), unpack=True)
    span = arrival.max()
    moved = [np.clip(arrival + rng.uniform(-120, 120, len(arrival)), 0, span) for _ in range(copies - 1)]
    arrival, isl, osl = np.concatenate([arrival, *moved]), np.tile(isl, copies), np.tile(osl, copies)
    steps = int(span // STEP_S)
    work = PROFILE.ttft.a / PASS_REQUESTS + PROFILE.ttft.b * isl + PROFILE.ttft.c * isl**2
    yield "prefill", np.bincount((arrival // STEP_S).astype(int), work, steps + 1)[:steps].astype(float)
    first = arrival + 2 * work
    written = _ramps(first, steps) - _ramps(first + np.maximum(osl, 1) * TOKEN_S, steps)
    yield "decode", np.maximum(written, 0.0)


def _ramps(start: Floats, steps: int) -> Floats:
    """How much of each step lies after `start`, summed over all."""
    step = np.minimum((start // STEP_S).astype(int), steps)
    part = np.bincount(step, (step + 1) * STEP_S - start, steps + 2)
    whole = np.cumsum(np.bincount(step + 1, minlength=steps + 2)) * STEP_S
    return (part + whole)[:steps]


# --- scores ------------------------------------------------------------------------------------------------


def scored(load: Floats) -> dict[str, object]:
    """Scores of each model and of the competition, and whom it believed how often."""
    horizon, window, every = (round(length / STEP_S) for length in (HORIZON_S, WINDOW_S, EVERY_S))
    averages = np.convolve(load, np.ones(window) / window, "valid")
    forecast, said, came, believed = LoadForecast.empty(STEP_S), [], [], dict.fromkeys(NAMES, 0)
    for step in range(len(load) - horizon):
        forecast = forecast.observe(step * STEP_S, float(load[step]))
        if step * STEP_S < 60 or step % every:
            continue
        peaks = [forecast.peak(HORIZON_S, QUANTILES[q], WINDOW_S) for q in SCORED]
        said.append(np.vstack([forecast.each_model(HORIZON_S, WINDOW_S), [peak.value for peak in peaks]]))
        came.append(averages[step + 1 : step + 1 + horizon - window + 1].max())
        believed[peaks[0].model] += 1
    values, peak = np.array(said), np.array(came)[:, None, None]
    pinball = np.maximum((peak - values) * QUANTILES[SCORED], (peak - values) * (QUANTILES[SCORED] - 1)).mean(
        axis=0
    )
    coverage, excess = (peak <= values).mean(axis=0), np.maximum(values - peak, 0).mean(axis=0) / peak.mean()
    names = (*NAMES, "Competition")
    return {
        "moments": len(peak),
        "quantiles": QUANTILES[SCORED].tolist(),
        "models": {
            name: {
                "coverage": coverage[at].round(4).tolist(),
                "over": excess[at].round(4).tolist(),
                "loss": (pinball[at] / pinball[NAMES.index("LastValue")]).round(4).tolist(),
            }
            for at, name in enumerate(names)
        },
        "believed": {name: round(count / len(peak), 3) for name, count in believed.items() if count},
    }


if __name__ == "__main__":
    main()
