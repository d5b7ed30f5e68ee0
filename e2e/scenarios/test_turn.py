"""The default strategy when the load turns: the split follows within a few decisions, and no request is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from demo.kubectl import wait_for
from demo.traffic import Phase, Traffic, steady
from scenarios.world import BY_DEFAULT, Fleet, World, few_and_forty, prefills, prompted, routed

DECISIONS_BEFORE = 5  # of the load before the turn
DECISIONS_AT_MOST = 4  # of which one may still be of the load before


@few_and_forty
def test_the_first_flip_serves_soon_after_decode_heavy_load_turns_prefill_heavy(
    world: World, fleet: Fleet
) -> None:
    engines = fleet.prefill + fleet.decode
    roomy = {"maxReplicas": 4 * engines}  # the GPU budget is what limits
    world.edit(fleet.name, prefill=roomy, decode=roomy, autoscaling=BY_DEFAULT)
    turn, over = threading.Event(), threading.Event()
    traffic = Traffic(world.reach.router(fleet.name), "tiny")
    chat = steady("chat", 60 * world.patience, 0.27 * engines, (16, 50))
    # About as many a second: how short their answers are is known when the first have ended, which takes a while.
    documents = steady("documents", 60 * world.patience, 0.4 * engines, (1500, 4))

    def enough(phase: Phase) -> bool:
        return (turn if phase is chat else over).is_set()

    def decisions_to_flip() -> int:
        first = world.decisions(fleet.name)
        wait_for("decisions", lambda: world.decisions(fleet.name) >= first + DECISIONS_BEFORE, 60)
        assert world.wanted(fleet.name) == (fleet.prefill, fleet.decode)
        before = world.decisions(fleet.name)
        turn.set()
        wait_for("a flip", lambda: len(routed(traffic.url, "prefill")) > fleet.prefill, 60, period_s=0.2)
        return world.decisions(fleet.name) - before

    def since_turn_s(what: str, done: Callable[[], bool]) -> float:
        wait_for(what, done, 60 * world.patience, period_s=0.5)
        return traffic.now_s() - traffic.began_s[-1]

    with ThreadPoolExecutor(4) as beside:
        running = beside.submit(asyncio.run, traffic.run([chat, documents], enough))
        try:
            urls = world.reach.engines(fleet.name)
            had = {engine: prefills(urls[engine]) for engine in routed(traffic.url, "decode")}
            took = decisions_to_flip()
            flipped = routed(traffic.url, "prefill") & set(had)
            begins = beside.submit(since_turn_s, "a prompt", lambda: bool(prompted(traffic.url) & flipped))
            serves = beside.submit(
                since_turn_s, "a prefill", lambda: any(prefills(urls[one]) > had[one] for one in flipped)
            )
            gone = beside.submit(
                since_turn_s, "RoleFlipped", lambda: "RoleFlipped" in world.reasons(fleet.name)
            )
            begins_s, serves_s, gone_s = begins.result(), serves.result(), gone.result()
        finally:
            turn.set()
            over.set()
        running.result()

    assert [answer.error for answer in traffic.answers if answer.error] == []
    print(
        f"flip by decision {took}; an engine had its first prompt {begins_s:.1f} s after the turn and had computed "
        f"one {serves_s:.1f} s after, its last request of the old role was gone {gone_s:.1f} s after"
    )
    assert took <= DECISIONS_AT_MOST
