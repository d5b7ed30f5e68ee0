"""A service serves: both ways of asking, streamed and not, with the tokens that one engine alone gives."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
import yaml

from demo.compare import compare, kv_tokens
from demo.kubectl import KubectlError, wait_for
from demo.traffic import completion
from scenarios.conftest import World


async def _ask(url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    limit = aiohttp.ClientTimeout(total=120)
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.post(url + path, json=body) as response,
    ):
        answer: dict[str, Any] = await response.json()
        assert response.status == 200, answer
        return answer


def test_completions_and_chat_are_answered_over_both_roles(world: World, name: str) -> None:
    world.serve(name)
    url = world.reach.router(name)
    text = asyncio.run(_ask(url, "/v1/completions", completion("tiny", list(range(20, 220)), 8)))
    assert text["usage"] == text["usage"] | {"prompt_tokens": 200, "completion_tokens": 8}
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
    assert (
        asyncio.run(_ask(url, "/v1/chat/completions", chat))["choices"][0]["message"]["role"] == "assistant"
    )
    moved = asyncio.run(kv_tokens(list(world.reach.engines(name).values())))
    assert sum(count or 0 for count in moved) >= 200


def test_disaggregated_output_equals_aggregated_at_temperature_0(world: World, name: str) -> None:
    world.serve(name)
    engine = next(iter(world.reach.engines(name).values()))
    result = asyncio.run(compare(world.reach.router(name), engine, "tiny"))
    assert result.equal == result.compared > 0


def test_an_unknown_model_path_is_told_and_then_mended(world: World, name: str) -> None:
    if world.plan.engine == "sim":
        broken: dict[str, Any] = {"engine": {"env": [{"name": "PD_SIM_PROFILE", "value": "no-such-profile"}]}}
    else:
        broken = {"model": {"source": {"hostPath": {"path": "/opt/pd-operator/models/no-such-model"}}}}
    before = world.sample(name)["spec"]
    world.serve(name)
    world.edit(name, **broken)

    def told() -> bool:
        return any(
            event["reason"] in ("EngineFailed", "Failed", "FailedMount") for event in _all_events(world, name)
        )

    wait_for("an Event that tells of the engine", told, 90 * world.patience)
    status, message = world.kubectl.condition(name, "Ready")
    assert status == "True", message  # what served before still does
    asyncio.run(_ask(world.reach.router(name), "/v1/completions", completion("tiny", [50] * 40, 4)))
    world.edit(name, engine=before["engine"], model=before["model"])
    world.wait_for_sizes(name, 1, 1, limit_s=90)


def _all_events(world: World, name: str) -> list[dict[str, Any]]:
    """Events of the service and of its pods."""
    items: list[dict[str, Any]] = world.kubectl.json("get", "events")["items"]
    return [item for item in items if item["involvedObject"]["name"].startswith(name)]


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"prefill": {"minReplicas": 3, "maxReplicas": 1}}, "minReplicas"),
        ({"autoscaling": {"gpuBudget": 1}}, "gpuBudget"),
        ({"autoscaling": {"ratio": {"min": "9:1"}}}, "ratio.min"),
    ],
)
def test_an_impossible_combination_is_refused_with_the_field(
    world: World, spec: dict[str, Any], named: str
) -> None:
    with pytest.raises(KubectlError, match=named):
        world.kubectl.run("create", "-f", "-", stdin=yaml.safe_dump(world.sample("refused", **spec)))
