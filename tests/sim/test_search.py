"""Searches find what trying everything would find, with few replays."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api.values import PerRole
from pdoperator.capacity.builtin import BUILTIN
from pdoperator.sim.policies.catalogue import check
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.search import (
    FORESIGHT,
    LOADS,
    SMOOTHER,
    Tried,
    aggregated_best,
    best_of,
    clairvoyant_loads,
    least_that,
    resolve,
    static_best,
)
from pdoperator.sim.traffic.trace import Trace

MOST = 24


class Cluster:
    """Attains with what `needs` says: pairs of P and D, each good for all that are larger in both."""

    def __init__(self, needs: list[tuple[int, int]]) -> None:
        self.needs = needs
        self.tried: set[str] = set()

    def holds(self, prefill: int, decode: int) -> bool:
        return any(prefill >= p and decode >= d for p, d in self.needs)

    def __call__(self, name: str) -> Tried:
        self.tried.add(name)
        _, prefill, decode = name.split(":")
        return Tried(1.0 if self.holds(int(prefill), int(decode)) else 0.5, int(prefill) + int(decode))


@given(st.lists(st.tuples(st.integers(1, 14), st.integers(1, 14)), min_size=0, max_size=5))
def test_static_best_is_the_smallest_fleet_of_all_that_attain(needs: list[tuple[int, int]]) -> None:
    cluster = Cluster(needs)
    found = static_best("static", PerRole(1, 1), MOST, cluster)
    every = [(p, d) for p, d in itertools.product(range(1, MOST), repeat=2) if p + d <= MOST]
    attaining = [p + d for p, d in every if cluster.holds(p, d)]
    if not attaining:
        assert found is None
    else:
        assert found is not None
        _, prefill, decode = found.split(":")
        assert int(prefill) + int(decode) == min(attaining)
    assert len(cluster.tried) <= 80


def test_static_best_does_not_try_what_cannot_be_smaller() -> None:
    cluster = Cluster([(5, 7)])
    assert static_best("static", PerRole(4, 6), MOST, cluster) == "static:5:7"
    assert len(cluster.tried) <= 10


def test_a_setting_that_does_not_attain_is_never_chosen_over_one_that_does() -> None:
    tried = {"a": Tried(0.995, 90.0), "b": Tried(0.97, 10.0), "c": Tried(0.991, 80.0)}
    assert best_of(("a", "b", "c"), tried.__getitem__) == "c"
    assert best_of(("b",), tried.__getitem__) == "b"
    assert best_of(("b", "d"), {"b": tried["b"], "d": Tried(0.98, 99.0)}.__getitem__) == "d"


def test_aggregated_best_takes_the_chunk_with_fewest_engines() -> None:
    needs = {"0": 9, "512": 8, "1024": 7, "2048": 7, "4096": 10}

    def attempt(name: str) -> Tried:
        options = dict(part.split("=") for part in name.split(":")[1:])
        return Tried(float(int(options["engines"]) >= needs[options.get("chunk", "0")]), 1.0)

    assert aggregated_best(MOST, attempt) == "aggregated:engines=7:chunk=1024"


@pytest.mark.parametrize("bound", ["clairvoyant", SMOOTHER])
def test_clairvoyants_loads_are_the_highest_with_which_it_still_attains(bound: str) -> None:
    def attempt(name: str) -> Tried:
        prefill, decode = (float(part.split("=")[1]) for part in name.removeprefix(bound).split(":")[1:])
        return Tried(1.0 - 0.02 * (prefill > 0.61) - 0.02 * (decode > 0.83), 1.0)

    found = clairvoyant_loads(bound, attempt)
    assert found is not None
    check(found)
    prefill, decode = (float(part.split("=")[1]) for part in found.removeprefix(bound).split(":")[1:])
    assert prefill == max(load for load in LOADS if load <= 0.61)
    assert decode == max(load for load in LOADS if load <= 0.83)


@pytest.mark.parametrize(
    ("prefill_weight", "decode_weight"), [(1.0, 1.0), (4.0, 1.0), (1.0, 9.0), (0.5, 0.02)]
)
def test_clairvoyants_loads_are_the_cheapest_of_all_that_attain_where_one_role_pays_for_the_other(
    prefill_weight: float, decode_weight: float
) -> None:
    def tried(prefill: float, decode: float) -> Tried:
        missed = prefill_weight * prefill**4 + decode_weight * decode**4
        return Tried(1.0 - 0.01 * missed, 3 / prefill + 5 / decode)

    def attempt(name: str) -> Tried:
        prefill, decode = (float(part.split("=")[1]) for part in name.split(":")[1:])
        return tried(prefill, decode)

    found = clairvoyant_loads("clairvoyant", attempt)
    assert found is not None
    all_that_attain = [one for pair in itertools.product(LOADS, repeat=2) if (one := tried(*pair)).attains]
    assert attempt(found).attains
    least = min(one.gpu_hours for one in all_that_attain)
    assert attempt(found).gpu_hours <= 1.01 * least


def test_foresight_tries_all_pairs_of_loads_for_attainment_does_not_fall_steadily_with_them() -> None:
    trace = Trace.of("t", np.arange(1.0, 9.0), np.full(8, 100), np.full(8, 10))
    scenario = Scenario(BUILTIN["h200-llama-3.1-8b-fp8-tp1"], 2.0, 0.08, PerRole(1, 1))
    attaining = {FORESIGHT[7]: 30.0, FORESIGHT[19]: 20.0}

    def attempt(name: str) -> Tried:
        return Tried(1.0, attaining[name]) if name in attaining else Tried(0.5, 1.0)

    for name in FORESIGHT:
        check(name)
    assert resolve("foresight", trace, scenario, attempt) == FORESIGHT[19]


def test_where_nothing_attains_there_is_no_bound() -> None:
    assert clairvoyant_loads("clairvoyant", lambda _: Tried(0.5, 1.0)) is None


@pytest.mark.parametrize(
    ("low", "high", "least", "found"), [(1, 9, 5, 5), (1, 9, 1, 1), (1, 9, 10, None), (3, 2, 1, None)]
)
def test_least_that(low: int, high: int, least: int, found: int | None) -> None:
    assert least_that(low, high, lambda n: n >= least) == found


def test_a_policy_without_a_search_stands_for_itself() -> None:
    trace = Trace.of("t", np.arange(1.0, 9.0), np.full(8, 100), np.full(8, 10))
    scenario = Scenario(BUILTIN["h200-llama-3.1-8b-fp8-tp1"], 2.0, 0.08, PerRole(1, 1))

    def attempt(name: str) -> Tried:
        raise AssertionError(f"{name} was tried")

    assert resolve("dyn-load", trace, scenario, attempt) == "dyn-load"
    assert resolve("static:3:5", trace, scenario, attempt) == "static:3:5"
