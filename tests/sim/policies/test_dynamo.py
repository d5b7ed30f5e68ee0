"""NVIDIA's planner as a policy: what it is told, what is done with its answers, and the planner itself where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pdoperator.api.names import Role
from pdoperator.api.values import PerRole, Value
from pdoperator.capacity.profile import Fit, Profile
from pdoperator.forecast.demand import Demand
from pdoperator.sim.policies.dynamo import policy as module
from pdoperator.sim.policies.dynamo.policy import Dynamo
from pdoperator.sim.policies.dynamo.process import PlannerMissingError, environment
from planning.fleet import engine, observation

# A prompt of 1000 tokens takes 0.11 s, a token 10 ms plus 0.1 ms a sequence, whatever the context.
PROFILE = Profile(
    Fit(0.01, 1e-4),
    Fit(0.01, 1e-4),
    kv_tokens=100_000,
    max_batch=500,
    gpus_per_replica=4,
    batched_tokens=8000,
)
USUAL = Demand(20.0, 1000.0, 200.0)


def dynamo(usual: Demand = USUAL) -> Dynamo:
    return Dynamo(
        "dynamo", module.TICK_S, PerRole(3, 2), profile=PROFILE, ttft_s=2.0, tpot_s=0.08, most_gpus=80, usual=usual
    )  # fmt: skip


class Answers:
    """In place of the planner's process: keeps what it is told, gives the answers one after the other."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers, self.told = list(answers), list[dict[str, Any]]()

    def __call__(self, configuration: dict[str, Any]) -> Answers:
        self.told.append(configuration)
        return self

    def answer(self, told: dict[str, Any]) -> dict[str, Any]:
        self.told.append(told)
        return self.answers.pop(0)


def replaced(monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any]) -> Answers:
    process = Answers(*answers)
    monkeypatch.setattr(module, "PlannerProcess", process)
    return process


def test_it_is_told_the_step_that_each_engine_is_in_and_what_waits_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = replaced(monkeypatch, {"engines": None, "rate_rps": None})
    engines = (
        engine("p0", Role.PREFILL, waiting=Value(3.0)),
        engine("p1", Role.PREFILL, waiting=Value(20.0)),
        engine("p2", Role.PREFILL),
        engine("d0", running=Value(40.0), kv_use=Value(0.5), waiting=Value(2.0)),
        engine("d1"),
    )
    assert dynamo().decide(observation(Demand(10.0, 1000.0, 200.0), 5.0, engines)) == PerRole(3, 2)
    told = process.told[1]
    assert (told["ready"], told["expected"]) == ([3, 2], [3, 2])
    assert told["traffic"] == {
        "duration_s": 5.0, "requests": 50.0, "isl_tokens": 1000.0, "osl_tokens": 200.0, "prefix_hit": 0.0,
    }  # fmt: skip
    keys = ("requests", "tokens", "queued", "queued_tokens")
    assert [[one[key] for key in keys] for one in (*told["prefill"], *told["decode"])] == [
        [3, 3000, 0, 0],
        [8, 8000, 12, 12_000],
        [0, 0, 0, 0],
        [40, 50_000, 2, 2000],
        [0, 0, 0, 0],
    ]
    assert [one["step_s"] for one in (*told["prefill"], *told["decode"])] == [
        pytest.approx(0.31), pytest.approx(0.81), 0.0, pytest.approx(0.014), 0.0,
    ]  # fmt: skip


def test_its_answer_is_the_target_and_none_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    process = replaced(
        monkeypatch,
        {"engines": [5, 2], "rate_rps": 33.0},
        {"engines": None, "rate_rps": None},
        {"engines": [4, 2], "rate_rps": None},
    )
    policy = dynamo()
    seen = observation(Demand(10.0, 1000.0, 200.0), 5.0, ())
    assert [policy.decide(seen) for _ in range(3)] == [PerRole(5, 2), PerRole(5, 2), PerRole(4, 2)]
    assert [told["expected"] for told in process.told[1:]] == [[3, 2], [5, 2], [5, 2]]
    assert [(point.for_s, point.rate_rps) for point in policy.forecasts] == [(185.0, 33.0)]


def test_its_samples_are_the_profiles_steps_of_at_least_five_lengths() -> None:
    built = dynamo().configuration()
    lengths = {one["tokens"]: one["step_s"] for one in built["prefill_samples"]}
    assert len(lengths) >= 5
    assert all(step_s == pytest.approx(0.01 + 1e-4 * tokens) for tokens, step_s in lengths.items())
    assert all(one["tokens"] <= PROFILE.kv_tokens for one in built["decode_samples"])
    assert built["config"]["max_gpu_budget"] == 80


def test_without_its_environment_one_line_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(PlannerMissingError, match=r"benchmarks/dynamo/install\.py") as refused:
        dynamo().decide(observation(None, 5.0, ()))
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(
    not (environment() / "installed").exists(),
    reason="NVIDIA's planner is not installed (python benchmarks/dynamo/install.py)",
)
def test_nvidias_planner_has_a_floor_by_its_forecast_over_what_an_engine_can_do_when_the_replay_begins() -> (
    None
):
    """65 req/s of 1000 tokens at 9,900 tok/s are 6.6 P, of 200 at 4,700 (90 sequences, by KV) 2.8 D; idle engines."""
    load = Demand(65.0, 1000.0, 200.0)
    engines = (*(engine(f"p{i}", Role.PREFILL) for i in range(3)), *(engine(f"d{i}") for i in range(2)))
    assert dynamo(usual=load).decide(observation(load, 5.0, engines)) == PerRole(7, 3)
