"""DistServe's placement search (OSDI'24, algorithms 1 and 2) over any goodput: a simulator's, or a formula's.

A configuration is the parallelism of one instance: `intra_op` GPUs within each layer (tensor parallel) times `inter_op`
stages (pipeline parallel). Goodput is the highest request rate at which the share of requests within the target is
attained; the caller says what it is, usually by `highest_rate` over simulations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pdoperator.api.names import Role
from pdoperator.capacity.distserve import instances_needed

RATE_TOLERANCE_RPS = 0.25  # per GPU; where simdistserve ends its search
MAX_DOUBLINGS = 40


@dataclass(frozen=True, slots=True, order=True)
class Parallelism:
    """Of one instance."""

    intra_op: int
    inter_op: int

    @property
    def gpus(self) -> int:
        return self.intra_op * self.inter_op


@dataclass(frozen=True, slots=True)
class Placement:
    """Instances of each role that carry a rate, and how each is parallelised."""

    prefill: Parallelism
    decode: Parallelism
    prefill_instances: int
    decode_instances: int

    @property
    def gpus(self) -> int:
        return self.prefill.gpus * self.prefill_instances + self.decode.gpus * self.decode_instances


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes that one instance may span, GPUs of a node, and the least GPUs over which the model's weights fit."""

    nodes_per_instance: int
    gpus_per_node: int
    least_gpus: int


class NoPlacementError(ValueError):
    """No configuration that fits the memory attains the targets at any rate."""


def highest_rate(attains: Callable[[float], bool], tolerance_rps: float = RATE_TOLERANCE_RPS) -> float:
    """The highest rate (req/s) that attains the targets, by doubling and bisection; 0 when none above tolerance does.

    `attains` must not become true again above a rate at which it is false. It is asked some 10 times.
    """
    low, high = 0.0, tolerance_rps
    for _ in range(MAX_DOUBLINGS):
        if not attains(high):
            break
        low, high = high, 2 * high
    else:
        raise ValueError(f"the targets are attained at every rate up to {low:g} req/s; is the trace empty?")
    while high - low > tolerance_rps:
        middle = (low + high) / 2
        low, high = (middle, high) if attains(middle) else (low, middle)
    return low


def across_nodes(
    cluster: Cluster, rate_rps: float, goodput_rps: Callable[[Role, Parallelism], float]
) -> Placement:
    """Algorithm 1, for a network between nodes that is fast: each role has its best instance per GPU, replicated.

    Raises NoPlacementError.
    """
    best: dict[Role, tuple[Parallelism, float]] = {}
    for role in (Role.PREFILL, Role.DECODE):
        rates = [(config, goodput_rps(role, config)) for config in configurations(cluster)]
        best[role] = _best(rates, role.value)
    (prefill, prefill_rps), (decode, decode_rps) = best[Role.PREFILL], best[Role.DECODE]
    return Placement(
        prefill, decode, instances_needed(rate_rps, prefill_rps), instances_needed(rate_rps, decode_rps)
    )


def within_nodes(
    cluster: Cluster, rate_rps: float, pair_goodput_rps: Callable[[Parallelism, Parallelism], float]
) -> Placement:
    """Algorithm 2, for a slow network: the same stage of prefill and decode shares a node, the best pair is replicated.

    `pair_goodput_rps` is that of one prefill and one decode instance together. Raises NoPlacementError.
    """
    rates = [(pair, pair_goodput_rps(*pair)) for pair in pairs(cluster)]
    usable = [(pair, rate / (pair[0].gpus + pair[1].gpus), rate) for pair, rate in rates if rate > 0]
    if not usable:
        raise NoPlacementError("no pair of instances that fits the memory attains the targets at any rate")
    (prefill, decode), _, rate = max(usable, key=lambda found: found[1])
    replicas = instances_needed(rate_rps, rate)
    return Placement(prefill, decode, replicas, replicas)


def configurations(cluster: Cluster) -> Iterator[Parallelism]:
    """Every parallelism of one instance: intra-op within a node, inter-op over nodes, that holds the weights."""
    for intra_op in range(1, cluster.gpus_per_node + 1):
        for inter_op in range(1, cluster.nodes_per_instance * cluster.gpus_per_node // intra_op + 1):
            if intra_op * inter_op >= cluster.least_gpus:
                yield Parallelism(intra_op, inter_op)


def pairs(cluster: Cluster) -> Iterator[tuple[Parallelism, Parallelism]]:
    """Every pair of instances whose stages share nodes: as many stages, and a node's GPUs split between both."""
    for inter_op in range(1, cluster.nodes_per_instance * cluster.gpus_per_node + 1):
        # Stages that share a node leave each of them a part of its GPUs.
        stages_per_node = math.ceil(inter_op / cluster.nodes_per_instance)
        gpus = cluster.gpus_per_node // stages_per_node
        for prefill_op in range(1, gpus):
            for decode_op in range(1, gpus - prefill_op + 1):
                pair = Parallelism(prefill_op, inter_op), Parallelism(decode_op, inter_op)
                if min(config.gpus for config in pair) >= cluster.least_gpus:
                    yield pair


def _best(rates: list[tuple[Parallelism, float]], phase: str) -> tuple[Parallelism, float]:
    usable = [(config, rate) for config, rate in rates if rate > 0]
    if not usable:
        raise NoPlacementError(f"no {phase} instance that fits the memory attains the targets at any rate")
    return max(usable, key=lambda found: found[1] / found[0].gpus)
