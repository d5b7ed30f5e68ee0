"""The ratio follows the load, and no request is lost on the way."""

from __future__ import annotations

import asyncio

from demo.report import flips, ratio_problems
from demo.timeline import Timeline
from demo.traffic import Traffic, steady
from scenarios.conftest import World


def test_the_ratio_follows_the_load_without_losing_a_request(world: World, name: str) -> None:
    world.serve(name)
    scale = 2.5 if world.plan.engine == "vllm" else 1.0
    rate = 0.7 if world.plan.engine == "vllm" else 1.2
    phases = [
        steady("documents", 30 * scale, rate, (1000, 8), "prefill"),
        steady("chat", 35 * scale, rate, (64, 150), "decode"),
    ]
    traffic = Traffic(world.reach.router(name), "tiny")
    timeline = Timeline(world.kubectl, world.reach, name, traffic)

    async def both() -> None:
        watching = asyncio.create_task(timeline.run())
        await traffic.run(phases)
        await timeline.sample()
        watching.cancel()

    asyncio.run(both())
    assert [answer.error for answer in traffic.answers if answer.error] == []
    assert ratio_problems(timeline.as_json(), [phase.as_json() for phase in phases]) == []
    assert sum(timeline.transferred.values()) > 0
    events = world.events(name)
    assert flips([{"reason": event["reason"], "message": event["message"]} for event in events])
    assert any(event["reason"] == "SuccessfulRescale" for event in events)
    budget = 4
    assert all(point["prefill"] + point["decode"] <= budget for point in timeline.as_json())
