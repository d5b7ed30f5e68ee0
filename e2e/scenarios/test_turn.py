"""The default strategy when the load turns: the split follows within a few decisions, and no request is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from demo.kubectl import wait_for
from demo.traffic import Phase, Traffic, steady
from scenarios.world import Fleet, World, few_and_forty

DECISIONS_BEFORE = 5  # of the load before the turn
DECISIONS_AT_MOST = 4  # of which one may still be of the load before


@few_and_forty
def test_the_first_flip_serves_soon_after_decode_heavy_load_turns_prefill_heavy(
    world: World, fleet: Fleet
) -> None:
    engines = fleet.prefill + fleet.decode
    roomy = {"maxReplicas": 4 * engines}  # the GPU budget is what limits
    world.edit(fleet.name, prefill=roomy, decode=roomy, autoscaling={"strategy": None, "interval": None})
    turn, over = threading.Event(), threading.Event()
    traffic = Traffic(world.reach.router(fleet.name), "tiny")
    chat = steady("chat", 60 * world.patience, 0.27 * engines, (16, 50))
    # Most of the engines are to prefill, and can: an overload would keep the first flip from being through.
    rate_rps = (0.3 if world.plan.engine == "vllm" else 0.4) * engines
    documents = steady("documents", 60 * world.patience, rate_rps, (1900, 4))

    def enough(phase: Phase) -> bool:
        return (turn if phase is chat else over).is_set()

    def count_to_flip() -> int:
        first = world.decisions(fleet.name)
        wait_for("decisions", lambda: world.decisions(fleet.name) >= first + DECISIONS_BEFORE, 60)
        assert world.wanted(fleet.name) == (fleet.prefill, fleet.decode)
        before = world.decisions(fleet.name)
        turn.set()
        wait_for("a flip", lambda: world.wanted(fleet.name)[0] > fleet.prefill, 60, period_s=0.2)
        took = world.decisions(fleet.name) - before
        wait_for("RoleFlipped", lambda: "RoleFlipped" in world.reasons(fleet.name), 60 * world.patience)
        return took

    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(asyncio.run, traffic.run([chat, documents], enough))
        try:
            took = count_to_flip()
            turned_at = time.time() - traffic.now_s() + traffic.began_s[-1]
        finally:
            turn.set()
            over.set()
        running.result()

    assert [answer.error for answer in traffic.answers if answer.error] == []
    flips = [event for event in world.events(fleet.name) if event["reason"] == "RoleFlipped"]
    served = min(flips, key=lambda event: str(event["firstTimestamp"]))
    served_at = datetime.fromisoformat(served["firstTimestamp"]).timestamp()
    print(f"{took} decisions; served {served_at - turned_at:.0f} s after the turn ({served['message']})")
    assert took <= DECISIONS_AT_MOST
