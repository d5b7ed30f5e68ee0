"""What follows from a spec."""

from __future__ import annotations

from typing import Any

import pytest

from pdoperator.controller.plan import Plan, read_plan

INLINE = {"ttft": {"a": 0.1}, "itl": {"a": 0.01}, "kvTokens": 1000}
OF_THE_PRESET = (
    "by h100-llama-3.3-70b-fp8-tp4, the profile of preset h100: give hardware.profile or inlineProfile"
)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        pytest.param({}, f"Adaptive decides every 5 s {OF_THE_PRESET}", id="a model and nothing else"),
        pytest.param({"hardware": {"inlineProfile": INLINE}}, "Adaptive decides every 5 s", id="its profile"),
        pytest.param(
            {"autoscaling": {"strategy": "DOPD"}}, f"DOPD decides every 15 s {OF_THE_PRESET}", id="DOPD"
        ),
        pytest.param(
            {"autoscaling": {"strategy": "Reactive", "interval": "1m"}},
            "Reactive decides every 60 s",
            id="a strategy that needs no profile",
        ),
    ],
)
def test_who_decides_how_often_and_by_whose_capacity(spec: dict[str, Any], told: str) -> None:
    metadata = {"name": "tiny", "namespace": "default", "uid": "u"}
    plan = read_plan({"metadata": metadata, "spec": {"model": {"name": "org/model"}, **spec}})
    assert isinstance(plan, Plan)
    assert plan.decides == told
