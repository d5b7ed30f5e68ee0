"""Metrics, health and the model list."""

from __future__ import annotations

from typing import Any

import pytest

from pdoperator.api.names import Role, State
from router.conftest import Bench


async def readiness(bench: Bench) -> tuple[int, str]:
    """Status and reason of /readyz."""
    async with bench.client.get(bench.url + "/readyz") as response:
        return response.status, (await response.text()).strip()


async def test_a_router_is_ready_with_a_configuration_and_one_usable_engine(bench: Bench) -> None:
    assert await readiness(bench) == (503, "no engine is ready")
    await bench.add("p", Role.PREFILL)
    assert await readiness(bench) == (200, "ok")
    bench.show(p={"ready": False})
    assert await readiness(bench) == (503, "no engine is ready")
    bench.show()
    bench.fleet.config = None
    assert await readiness(bench) == (503, "no configuration yet")


async def test_a_router_that_shuts_down_is_alive_and_not_ready(pair: Bench) -> None:
    pair.router.draining = True
    assert await readiness(pair) == (503, "shutting down")
    async with pair.client.get(pair.url + "/healthz") as response:
        assert response.status == 200
    async with pair.client.post(
        pair.url + "/v1/completions", json={"model": "tiny", "prompt": "x"}
    ) as response:
        assert response.status == 200
        assert response.headers["Connection"] == "close"


async def test_before_its_configuration_is_known_requests_get_503(pair: Bench) -> None:
    pair.fleet.config = None
    assert (await pair.post())[0] == 503


async def test_the_one_model_is_listed_by_its_served_name(bench: Bench) -> None:
    async with bench.client.get(bench.url + "/v1/models") as response:
        assert [model["id"] for model in (await response.json())["data"]] == ["tiny"]


async def test_the_routing_table_is_shown_as_the_router_has_it(pair: Bench) -> None:
    pair.show(d={"state": State.DRAINING})
    samples = await pair.samples()
    assert samples["pdrouter_engine_info{engine=p,revision=r1,role=prefill,state=serving}"] == 1
    assert samples["pdrouter_engine_info{engine=d,revision=r1,role=decode,state=draining}"] == 1
    assert samples["pdrouter_outstanding_requests{engine=d,role=decode}"] == 0
    assert samples["pdrouter_outstanding_requests{engine=d,role=prefill}"] == 0


async def test_an_engine_that_left_the_table_is_counted_while_it_still_has_requests(pair: Bench) -> None:
    claim = pair.fleet.scheduler.load.acquire("d", Role.DECODE, 100)
    pair.fleet.set_engines([])
    assert (await pair.samples())["pdrouter_outstanding_requests{engine=d,role=decode}"] == 1
    claim.release()
    pair.fleet.set_engines([])
    assert "pdrouter_outstanding_requests{engine=d,role=decode}" not in await pair.samples()


@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_and_queue_times_are_observed_by_role(pair: Bench, stream: bool) -> None:
    await (pair.stream() if stream else pair.post())
    samples = await pair.samples()
    wanted: dict[str, Any] = {
        "pdrouter_requests_admitted_total{}": 1,
        "pdrouter_request_input_tokens_sum{}": 7,
        "pdrouter_request_output_tokens_sum{}": 4,
        "pdrouter_queue_seconds_count{role=prefill}": 1,
        "pdrouter_queue_seconds_count{role=decode}": 1,
        "pdrouter_requests_within_slo_total{}": 1,
        "pdrouter_ttft_seconds_count{}": int(stream),
        "pdrouter_tpot_seconds_count{}": int(stream),
    }
    assert {name: samples[name] for name in wanted} == wanted


async def test_ttft_ends_with_the_first_token_and_tpot_is_the_mean_gap_after_it(pair: Bench) -> None:
    pair.engines["d"].token_s = 0.05
    await pair.stream()
    samples = await pair.samples()
    assert 0.05 <= samples["pdrouter_ttft_seconds_sum{}"] < 0.5
    assert 0.04 <= samples["pdrouter_tpot_seconds_sum{}"] < 0.2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("missed", [{"ttft_target_s": 0.01, "tpot_target_s": 0.0}, {"tpot_target_s": 0.001}])
async def test_a_missed_target_is_not_within_slo(pair: Bench, stream: bool, missed: dict[str, float]) -> None:
    pair.config(ttft_target_s=0.02, **missed) if "ttft_target_s" not in missed else pair.config(**missed)
    pair.engines["d"].token_s = 0.03
    await (pair.stream() if stream else pair.post(stream=False, prompt="x"))
    if stream:
        assert (await pair.samples())["pdrouter_requests_within_slo_total{}"] == 0
