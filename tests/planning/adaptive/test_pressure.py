"""Whose work it is that waits: prefill's, or decode's."""

from __future__ import annotations

import pytest

from pdoperator.forecast.demand import Demand
from pdoperator.planning.adaptive.needs import Sizer
from pdoperator.planning.adaptive.pressure import pressure
from planning import fleet
from planning.adaptive.test_strategy import service

SIZER = Sizer.of(Demand(60.0, 1200.0, 200.0), service())


@pytest.mark.parametrize(
    ("readings", "prompts", "for_decode"),
    [
        pytest.param({"prefill_waiting": 10.0}, 40, 0, id="prompts on prefill engines"),
        pytest.param({"decode_waiting": 10.0}, 20, 0, id="prompts that decode engines prefill themselves"),
        pytest.param(
            {"decode_waiting": 10.0, "decode_kv_use": 0.95},
            0,
            20,
            id="for room on decode engines that are full",
        ),
        pytest.param(
            {"prefill_waiting": 10.0, "decode_waiting": 10.0, "decode_kv_use": 0.95},
            40,
            20,
            id="prompts, however full decode is",
        ),
        pytest.param(
            {"prefill_waiting": 10.0, "prefill_kv_use": 0.95},
            0,
            40,
            id="on prefill engines that are full of KV which nobody fetches",
        ),
    ],
)
def test_what_waits_is_work_of_the_role_that_it_waits_for(
    readings: dict[str, float], prompts: int, for_decode: int
) -> None:
    found = pressure(fleet.observation(None, engines=fleet.fleet(4, 2, **readings)), SIZER)
    assert found.waiting_s == pytest.approx(prompts * SIZER.per_request.prefill)
    assert found.decoding == pytest.approx(for_decode / SIZER.batch)
