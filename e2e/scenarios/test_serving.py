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
from scenarios.world import Fleet, World, light_load


async def _ask(url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    limit = aiohttp.ClientTimeout(total=120)
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.post(url + path, json=body) as response,
    ):
        answer: dict[str, Any] = await response.json()
        assert response.status == 200, answer
        return answer


def test_completions_and_chat_are_answered_over_both_roles(world: World, fleet: Fleet) -> None:
    url = world.reach.router(fleet.name)
    text = asyncio.run(_ask(url, "/v1/completions", completion("tiny", list(range(20, 220)), 8)))
    assert text["usage"] == text["usage"] | {"prompt_tokens": 200, "completion_tokens": 8}
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
    answer = asyncio.run(_ask(url, "/v1/chat/completions", chat))
    assert answer["choices"][0]["message"]["role"] == "assistant"
    moved = asyncio.run(kv_tokens(list(world.reach.engines(fleet.name).values())))
    assert sum(count or 0 for count in moved) >= 200


def test_disaggregated_output_equals_aggregated_at_temperature_0(world: World, fleet: Fleet) -> None:
    engine = next(iter(world.reach.engines(fleet.name).values()))
    result = asyncio.run(compare(world.reach.router(fleet.name), engine, "tiny"))
    assert result.equal == result.compared > 0


def test_a_prompt_goes_to_the_engine_that_has_its_beginning_cached(world: World, fleet: Fleet) -> None:
    """Taking turns between two prefill engines, the last prompt would come to the one that does not have it."""
    world.resize(fleet, prefill=+1, decode=-1)
    url = world.reach.router(fleet.name)
    before = world.prefix_hits(fleet.name)
    beginning = list(range(100, 1300))
    for prompt in (
        [*beginning, *range(20, 60)],
        list(range(400, 1600)),
        list(range(300, 1500)),
        [*beginning, *range(60, 90)],
    ):
        asyncio.run(_ask(url, "/v1/completions", completion("tiny", prompt, 4)))
    predicted, found = (now - then for now, then in zip(world.prefix_hits(fleet.name), before, strict=True))
    print(
        f"of {len(beginning)} tokens in common {predicted:.0f} were predicted to be cached, {found:.0f} were"
    )
    assert len(beginning) >= predicted >= 0.8 * len(beginning)
    assert len(beginning) >= found >= 0.8 * len(beginning)


def test_an_unknown_model_path_is_told_and_its_engine_given_up_while_the_rest_serves_on(
    world: World, fleet: Fleet
) -> None:
    if world.plan.engine == "sim":
        broken: dict[str, Any] = {"engine": {"env": [{"name": "PD_SIM_PROFILE", "value": "no-such-profile"}]}}
    else:
        broken = {"model": {"source": {"hostPath": {"path": "/opt/pd-operator/models/no-such-model"}}}}
    world.edit(fleet.name, **broken)

    def told() -> bool:
        return bool({"EngineFailed", "Failed", "FailedMount"} & _all_reasons(world, fleet.name))

    wait_for("an Event that tells of the engine", told, 90 * world.patience)
    world.is_given_up(fleet, light_load(600))


def _all_reasons(world: World, name: str) -> set[str]:
    """Reasons of Events about the service and its pods."""
    items = world.kubectl.json("get", "events")["items"]
    return {item["reason"] for item in items if item["involvedObject"]["name"].startswith(name)}


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
