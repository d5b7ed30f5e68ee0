"""By default the ratio follows the load, within the budget, and no request is lost on the way."""

from __future__ import annotations

import asyncio

from demo.report import flips, followed, on_the_side_of, ratio_problems
from demo.timeline import Timeline
from demo.traffic import Phase, Traffic, steady
from scenarios.world import BY_DEFAULT, Fleet, World


def test_the_ratio_follows_the_load_without_losing_a_request(world: World, fleet: Fleet) -> None:
    """Each load lasts until the ratio has followed it: how long that takes is the machine's affair."""
    world.edit(fleet.name, autoscaling=BY_DEFAULT)
    rate = 0.7 if world.plan.engine == "vllm" else 1.2
    limit_s = 60 * world.patience
    phases = [
        steady("documents", limit_s, rate, (1000, 8), "prefill"),
        steady("chat", limit_s, rate, (64, 150), "decode"),
    ]
    traffic = Traffic(world.reach.router(fleet.name), "tiny")
    timeline = Timeline(world.kubectl, world.reach, fleet.name, traffic)

    def follows(phase: Phase) -> bool:
        return bool(timeline.points) and on_the_side_of(phase, timeline.as_json()[-1])

    async def both() -> None:
        watching = asyncio.create_task(timeline.run())
        await traffic.run(phases, enough=follows)
        await timeline.sample()
        watching.cancel()

    asyncio.run(both())
    assert [answer.error for answer in traffic.answers if answer.error] == []
    assert ratio_problems(followed(phases, traffic.began_s, timeline.as_json())) == []
    assert sum(timeline.transferred.values()) > 0
    events = world.events(fleet.name)
    assert flips([{"reason": event["reason"], "message": event["message"]} for event in events])
    assert "SuccessfulRescale" in world.reasons(fleet.name)
    budget = fleet.prefill + fleet.decode
    assert all(point["prefill"] + point["decode"] <= budget for point in timeline.as_json())
