"""Item S2: DistServe's placement search, over goodputs that are known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdoperator.api.names import Role
from pdoperator.capacity import distserve, placement
from pdoperator.capacity.placement import Cluster, NoPlacementError, Parallelism

NODE = Cluster(nodes_per_instance=1, gpus_per_node=4, least_gpus=1)


@pytest.mark.parametrize(("limit", "found"), [(3.3, 3.3), (100.0, 100.0), (0.1, 0.0)])
def test_s2_the_highest_rate_is_found_within_the_tolerance(limit: float, found: float) -> None:
    asked: list[float] = []

    def attains(rate: float) -> bool:
        asked.append(rate)
        return rate <= limit

    assert placement.highest_rate(attains) == pytest.approx(found, abs=0.25)
    assert placement.highest_rate(attains) <= limit
    assert len(asked) < 50


def test_s2_targets_that_every_rate_attains_are_refused() -> None:
    with pytest.raises(ValueError, match="attained at every rate"):
        placement.highest_rate(lambda rate: True)


def test_s2_configurations_hold_the_weights_and_stay_within_the_nodes() -> None:
    assert [(c.intra_op, c.inter_op) for c in placement.configurations(Cluster(2, 2, 3))] == [
        (1, 3),
        (1, 4),
        (2, 2),
    ]


def test_s2_algorithm_1_takes_the_best_instance_per_gpu_of_each_role_and_replicates_it() -> None:
    goodputs = {
        (Role.PREFILL, Parallelism(1, 1)): 5.6,  # DistServe's figures for OPT-13B on one A100
        (Role.PREFILL, Parallelism(2, 1)): 12.0,
        (Role.PREFILL, Parallelism(4, 1)): 16.0,  # more, but not per GPU
        (Role.DECODE, Parallelism(1, 1)): 10.0,
    }
    found = placement.across_nodes(NODE, 30.0, lambda role, config: goodputs.get((role, config), 0.0))
    assert found == placement.Placement(Parallelism(2, 1), Parallelism(1, 1), 3, 3)
    assert found.gpus == 9


def test_s2_algorithm_1_over_md1_queues_prefers_pipelines_at_loose_and_tensor_parallelism_at_tight_targets() -> (
    None
):
    def goodput(target_s: float, config: Parallelism) -> float:
        latency: dict[Parallelism, Callable[[float], float]] = {
            Parallelism(1, 2): lambda r: distserve.inter_op_ttft_s(r, 0.2),
            Parallelism(2, 1): lambda r: distserve.intra_op_ttft_s(r, 0.2, 1.7),
        }
        return placement.highest_rate(lambda rate: latency[config](rate) <= target_s, tolerance_rps=0.01)

    cluster = Cluster(1, 2, 2)
    loose = placement.across_nodes(cluster, 20, lambda role, config: goodput(1.0, config))
    tight = placement.across_nodes(cluster, 20, lambda role, config: goodput(0.19, config))
    assert loose.prefill == Parallelism(1, 2)
    assert tight.prefill == Parallelism(2, 1)


def test_s2_algorithm_2_splits_the_gpus_of_nodes_between_stages_of_both() -> None:
    assert set(placement.pairs(Cluster(1, 3, 1))) == {
        (Parallelism(1, 1), Parallelism(1, 1)),
        (Parallelism(1, 1), Parallelism(2, 1)),
        (Parallelism(2, 1), Parallelism(1, 1)),
    }
    best = placement.within_nodes(NODE, 7.0, lambda p, d: min(5.6 * p.gpus, 10 * d.gpus))
    assert (best.prefill, best.decode) == (Parallelism(2, 1), Parallelism(1, 1))  # 10 req/s on 3 GPUs
    assert (best.prefill_instances, best.decode_instances) == (1, 1)


def test_s2_targets_that_no_instance_attains_are_refused() -> None:
    with pytest.raises(NoPlacementError, match="no prefill instance"):
        placement.across_nodes(NODE, 1.0, lambda role, config: 0.0)
    with pytest.raises(NoPlacementError, match="no pair of instances"):
        placement.within_nodes(NODE, 1.0, lambda p, d: 0.0)


@settings(deadline=None)
@given(nodes=st.integers(1, 3), gpus=st.integers(1, 8), least=st.integers(1, 8))
def test_s2_a_pair_fits_into_the_nodes_that_it_may_span(nodes: int, gpus: int, least: int) -> None:
    cluster = Cluster(nodes, gpus, least)
    for prefill, decode in placement.pairs(cluster):
        assert prefill.inter_op == decode.inter_op
        assert prefill.gpus + decode.gpus <= nodes * gpus
        assert prefill.intra_op + decode.intra_op <= gpus
        assert min(prefill.gpus, decode.gpus) >= least
