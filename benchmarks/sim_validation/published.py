"""What others have published, asked of the simulator. Writes one JSON object that docs/simulator.md discusses.

    python benchmarks/sim_validation/published.py --json [SECTION …]

None of their engines, models and traces is the one simulated here, so shapes are compared and not figures: which split
wins, where a curve bends, what a role flip saves over a new engine.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import click
import numpy as np

from pdoperator.api.values import PerRole, ratio_text
from pdoperator.capacity.builtin import BUILTIN
from pdoperator.capacity.profile import Profile
from pdoperator.sim.first_fleet import mm1_fleet
from pdoperator.sim.kernel import state as k
from pdoperator.sim.kernel.run import run_until
from pdoperator.sim.metrics import summary
from pdoperator.sim.policies.catalogue import prepare
from pdoperator.sim.replay import Outcome, params_of, replay
from pdoperator.sim.scenario import RouterOptions, Scenario
from pdoperator.sim.traffic import pd_eval, synthetic
from pdoperator.sim.traffic.trace import Trace

TTFT_S, TPOT_S = 2.0, 0.08  # DOPD's targets
SEEDS = (0, 1, 2)


def fixed_ratios() -> list[dict[str, Any]]:
    """dstack: 8 GPUs as 3:1, 2:2 and 1:3, closed loops of 32 and 128 requests, three pairs of lengths."""
    profile = BUILTIN["h100-llama-3.3-70b-fp8-tp2"]
    return [
        {"isl": isl, "osl": osl, "concurrency": concurrency, "split": f"{prefill}:{4 - prefill}"}
        | _closed_loop(profile, PerRole(prefill, 4 - prefill), isl, osl, concurrency)
        for isl, osl in ((2048, 128), (128, 2048), (2048, 2048))
        for concurrency in (32, 128)
        for prefill in (3, 2, 1)
    ]


def _closed_loop(
    profile: Profile, split: PerRole[int], isl: int, osl: int, concurrency: int
) -> dict[str, float]:
    """`concurrency` clients, each of which sends its next request when the last token of the one before has come."""
    requests = concurrency * 8
    state = k.new_state(
        np.full(requests, np.inf), np.full(requests, isl, np.int32), np.full(requests, osl, np.int32),
        np.zeros(requests, np.int32), split.prefill + split.decode, profile.max_batch,
    )  # fmt: skip
    params = params_of(Scenario(profile, TTFT_S, TPOT_S, split), RouterOptions())
    state.cursors[k.SLOTS] = split.prefill + split.decode
    state.engines["alive"] = state.engines["serving"] = True
    state.engines["role"] = [k.PREFILL] * split.prefill + [k.DECODE] * split.decode
    arrival_s = state.requests["arrival_s"]
    arrival_s[:concurrency] = np.arange(concurrency) * 1e-3
    sent, answered = concurrency, 0
    while answered < requests:
        following = int(state.cursors[k.NEXT_ARRIVAL])
        arrives_s = arrival_s[following] if following < requests else np.inf
        now_s = min(arrives_s, state.events["at_s"].min())
        run_until(state, params, now_s)
        ended = int(state.counts[k.ENDED]) - answered
        answered += ended
        more = min(ended, requests - sent)
        arrival_s[sent : sent + more] = now_s
        sent += more
    steady = slice(concurrency * 2, requests - concurrency)
    records = state.requests[steady]
    tpot_s = (records["finish_s"] - records["first_s"]) / max(1, osl - 1)
    span_s = float(records["finish_s"].max() - records["arrival_s"].min())
    return {
        "ttft_p50_s": _rounded(np.median(records["first_s"] - records["arrival_s"]) + params.latency_s),
        "itl_p50_s": _rounded(np.median(tpot_s)),
        "output_tokens_per_s": round(len(records) * osl / span_s),
    }


def startup_cliff() -> list[dict[str, Any]]:
    """Dynamo's sweep of start-up times: planners that look one tick ahead, and one that knows the load until then."""
    profile = BUILTIN["h100-llama-3.3-70b-fp8-tp4"]
    # A swell of 20 minutes, twice; one seed, for the planner's fits take most of the time.
    swell = [(60.0 * minute, 48 + 36 * float(np.sin(minute / 20 * 2 * np.pi))) for minute in range(41)]
    lengths = synthetic.lognormal(1500, 1.0, 250, 1.0, 16_000)
    trace = synthetic.drawn("swell", swell, synthetic.POISSON, lengths, SEEDS[0])
    scenario = Scenario(profile, TTFT_S, TPOT_S, PerRole(6, 6), seed=SEEDS[0])
    return [
        {"policy": policy, "startup_s": startup_s}
        | _figures(policy, trace, replace(scenario, startup_s=startup_s))
        for policy in ("dyn-sla", "dynamo", "foresight")
        for startup_s in (0.0, 60.0, 90.0, 120.0, 180.0, 300.0)
    ]


def dopd_ordering() -> list[dict[str, Any]]:
    """D9: DOPD's comparison on a ramp like its own, four times as high, with its start-ups; the same tick for all."""
    profile = BUILTIN["h100-llama-3.3-70b-fp8-tp4"]
    found = []
    for policy in ("dyn-load:adjust=30", "dyn-sla:adjust=30", "dopd-release:adjust=30", "dopd:interval=30"):
        for seed in SEEDS:
            trace = synthetic.dopd_ramp(seed, 4.0)
            first = mm1_fleet(trace, profile, TTFT_S, TPOT_S)
            scenario = Scenario(
                profile, TTFT_S, TPOT_S, first, startup_s=30.0, decode_startup_s=45.0, seed=seed
            )
            found.append({"policy": policy, "seed": seed, "first": ratio_text(first)}
                         | _figures(policy, trace, scenario))  # fmt: skip
    return found


def _figures(policy: str, trace: Trace, scenario: Scenario) -> dict[str, float]:
    found = summary(_replayed(policy, trace, scenario))
    keys = ("attainment", "ttft_p50_s", "ttft_p99_s", "tpot_p50_s", "gpu_hours", "scale_events")
    return {key: _rounded(getattr(found, key)) for key in keys}


def cold_swap() -> list[dict[str, Any]]:
    """C4, Narwhal's ablation: phases that invert the load, with flips, with DOPD's start-ups, with a 300 s swap."""
    profile = BUILTIN["h100-llama-3.3-70b-fp8-tp4"]
    found = []
    for name, startup_s, decode_startup_s, policy in (
        ("flip", 300.0, None, "arrow"),
        ("start-up P 30 s, D 45 s", 30.0, 45.0, "dedicated"),
        ("cold swap 300 s", 300.0, None, "dedicated"),
    ):
        for seed in SEEDS:
            trace = synthetic.phase_inversion(0.3, seed)
            scenario = Scenario(
                profile, TTFT_S, TPOT_S, PerRole(4, 4), gpu_budget=32, startup_s=startup_s,
                decode_startup_s=decode_startup_s, max_engines=8, seed=seed,
            )  # fmt: skip
            made, scenario = prepare("arrow", trace, scenario)
            made.shared_pool = policy == "arrow"
            result = summary(replay(trace, scenario, made))
            found.append({"change": name, "seed": seed, "attainment": _rounded(result.attainment),
                          "ttft_p90_s": _rounded(result.ttft_p90_s), "flips": result.flips})  # fmt: skip
    return found


def two_gpus_or_one() -> list[dict[str, Any]]:
    """B4: PD-Disaggregation-Eval's runs, 1 engine against 1P:1D, and what it left out: 2 engines against 1P:1D."""
    profile = BUILTIN["h100-llama-3.1-8b-bf16-tp1"]
    found = []
    for use in pd_eval.PROFILES:
        for rate_rps in pd_eval.RATES_RPS:
            for name, first in (("1", PerRole(0, 1)), ("2", PerRole(0, 2)), ("1:1", PerRole(1, 1))):
                trace = pd_eval.Run(pd_eval.Architecture.COLOCATED, use, rate_rps).trace(0)
                scenario = Scenario(profile, 1.0, TPOT_S, first)
                outcome = _replayed(
                    f"static:{name}" if first.prefill else f"aggregated:engines={name}", trace, scenario
                )
                within = np.nan_to_num(outcome.ttft_s, nan=np.inf) <= 1.0
                result = summary(outcome)
                found.append({"profile": use.name, "rate_rps": rate_rps, "engines": name,
                              "ttft_p99_s": _rounded(result.ttft_p99_s), "ttft_within_1s": _rounded(within.mean()),
                              "tpot_p90_s": _rounded(result.tpot_p90_s)})  # fmt: skip
    return found


def _replayed(policy: str, trace: Trace, scenario: Scenario) -> Outcome:
    made, scenario = prepare(policy, trace, scenario)
    return replay(trace, scenario, made)


def _rounded(value: float | np.floating[Any]) -> float:
    return float(f"{float(value):.4g}")


SECTIONS = {
    made.__name__: made for made in (fixed_ratios, startup_cliff, dopd_ordering, cold_swap, two_gpus_or_one)
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As all benchmarks have it; the output is JSON anyway.")
@click.argument("sections", nargs=-1, type=click.Choice(list(SECTIONS)))
def main(as_json: bool, sections: tuple[str, ...]) -> None:
    """Run these sections, all if none is named."""
    found = {name: SECTIONS[name]() for name in sections or SECTIONS}
    json.dump(found, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
