"""DistServe's method (OSDI'24) over the simulator: goodput by sweeps (C2), placement by search (S2). One JSON object.

    python benchmarks/sim_validation/distserve.py --json [SECTION …]

docs/results/published.md discusses it. Poisson arrivals, lengths like Azure's conversation trace of 2023.
"""

from __future__ import annotations

import json
import sys
from functools import lru_cache, partial
from typing import Any

import click

from pdoperator.api.names import Role
from pdoperator.api.values import PerRole
from pdoperator.capacity.builtin import BUILTIN
from pdoperator.capacity.placement import Cluster, Parallelism, across_nodes, highest_rate
from pdoperator.capacity.profile import Profile
from pdoperator.sim.metrics import goodput_crossing, scale_attained, summary
from pdoperator.sim.policies.catalogue import prepare
from pdoperator.sim.replay import Outcome, replay
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.search import Tried, static_best
from pdoperator.sim.traffic.synthetic import lognormal, poisson

TTFT_S, TPOT_S = 2.0, 0.08
LENGTHS = lognormal(1155, 0.96, 211, 1.1, 16_000)
SPAN_S, SEED = 300.0, 0
SHARES = (0.9, 0.99)

SWEPT = ("static:1:3", "static:2:2", "static:3:1", "aggregated:engines=4")
SWEPT_RPS = (10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0)
SCALED_RPS = 20.0  # at which the SLO scale is given

# Tensor parallel sizes of one model that there are measurements of; pipelines are not.
SIZES = {Parallelism(tp, 1): BUILTIN[f"h100-llama-3.3-70b-fp8-tp{tp}"] for tp in (2, 4, 8)}
CLUSTER = Cluster(nodes_per_instance=1, gpus_per_node=8, least_gpus=2)
AMPLE = 12  # engines of the other role, so that only one role can miss
PLACED_RPS = 60.0
MOST = 48


def goodput_sweep() -> list[dict[str, Any]]:
    """Four engines of 70B on four GPUs each: attainment by rate, per-GPU goodput at 90 and 99 %, SLO scale."""
    profile = BUILTIN["h100-llama-3.3-70b-fp8-tp4"]
    return [_swept(profile, policy) for policy in SWEPT]


def _swept(profile: Profile, policy: str) -> dict[str, Any]:
    outcomes = {rate: _outcome(profile, policy, rate) for rate in SWEPT_RPS}
    found = {rate: summary(outcome) for rate, outcome in outcomes.items()}
    attained = [one.attainment for one in found.values()]
    crossings = {
        f"goodput_rps_per_gpu_at_{share:g}": goodput_crossing(
            SWEPT_RPS, attained, share, 4 * profile.gpus_per_replica
        )
        for share in SHARES
    }
    return {
        "policy": policy,
        "attainment": {f"{rate:g}": round(share, 4) for rate, share in zip(SWEPT_RPS, attained, strict=True)},
        **{key: None if rate is None else round(rate, 3) for key, rate in crossings.items()},
        "slo_scale_at_0.9": round(scale_attained(outcomes[SCALED_RPS]), 3),
        "goodput_tokens_per_s": round(max(one.goodput_tokens_per_s for one in found.values())),
    }


def placement() -> dict[str, Any]:
    """Algorithm 1 with goodputs of the simulator, and what searching whole fleets finds for the same rate."""
    best = across_nodes(CLUSTER, PLACED_RPS, _goodput_rps)
    fleets = []
    for size, profile in SIZES.items():
        alone = {role.value: _goodput_rps(role, size) for role in (Role.PREFILL, Role.DECODE)}
        counts = across_nodes(Cluster(1, size.intra_op, size.intra_op), PLACED_RPS, _goodput_rps)
        found = static_best("static", PerRole(1, 1), MOST, partial(_tried, profile))
        split = f"static:{counts.prefill_instances}:{counts.decode_instances}"
        fleets.append(
            {
                "tp": size.intra_op,
                "goodput_rps_per_gpu": {role: round(rate / size.gpus, 3) for role, rate in alone.items()},
                "algorithm_1": split,
                "algorithm_1_attains": round(_tried(profile, split).attained_share, 4),
                "algorithm_1_gpus": counts.gpus,
                "searched": found,
                "searched_gpus": found and size.gpus * sum(map(int, found.split(":")[1:])),
            }
        )
    return {
        "rate_rps": PLACED_RPS,
        "prefill_tp": best.prefill.intra_op,
        "decode_tp": best.decode.intra_op,
        "split": [best.prefill_instances, best.decode_instances],
        "gpus": best.gpus,
        "fleets": fleets,
    }


@lru_cache
def _goodput_rps(role: Role, size: Parallelism) -> float:
    """Of one instance, the other role being ample; 0 where there is no profile."""
    profile = SIZES.get(size)
    if profile is None:
        return 0.0
    split = f"static:1:{AMPLE}" if role is Role.PREFILL else f"static:{AMPLE}:1"
    return highest_rate(lambda rate: summary(_outcome(profile, split, rate)).attains)


def _tried(profile: Profile, split: str) -> Tried:
    found = summary(_outcome(profile, split, PLACED_RPS))
    return Tried(found.attainment / found.attainable, found.gpu_hours)


def _outcome(profile: Profile, policy: str, rate_rps: float) -> Outcome:
    trace = poisson(rate_rps, SPAN_S, LENGTHS, SEED)
    made, scenario = prepare(policy, trace, Scenario(profile, TTFT_S, TPOT_S, PerRole(1, 1)))
    return replay(trace, scenario, made)


SECTIONS = {made.__name__: made for made in (goodput_sweep, placement)}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As all benchmarks have it; the output is JSON anyway.")
@click.argument("sections", nargs=-1, type=click.Choice(list(SECTIONS)))
def main(as_json: bool, sections: tuple[str, ...]) -> None:
    """Run these sections, all if none is named."""
    json.dump({name: SECTIONS[name]() for name in sections or SECTIONS}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
