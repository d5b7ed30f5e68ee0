"""Edits, deletions, and an operator or an API server that goes away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from demo import deploy
from demo.kubectl import wait_for
from demo.traffic import Traffic, steady
from scenarios.conftest import World


def traffic_during(world: World, name: str, seconds: float, action: Callable[[], None]) -> Traffic:
    """Steady traffic for `seconds` in a thread beside `action`, and until both are over.

    The action keeps this thread: what it starts ends with the thread that started it.
    """
    traffic = Traffic(world.reach.router(name), "tiny")
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(asyncio.run, traffic.run([steady("steady", seconds, 0.6, (200, 20))]))
        action()
        running.result()
    return traffic


def failures(traffic: Traffic) -> list[str]:
    assert traffic.answers
    return [answer.error for answer in traffic.answers if answer.error]


def static(prefill: int, decode: int) -> dict[str, Any]:
    """Changes to a spec that fix its size."""
    return {
        "prefill": {"replicas": prefill},
        "decode": {"replicas": decode},
        "autoscaling": {"strategy": "Static"},
    }


def test_an_edited_size_is_reached_and_victims_drain_first(world: World, name: str) -> None:
    world.serve(name, **static(1, 2))
    world.wait_for_sizes(name, 1, 2)
    world.edit(name, **static(2, 1))
    world.wait_for_sizes(name, 2, 1)

    def shrink() -> None:
        world.edit(name, **static(1, 1))
        world.wait_for_sizes(name, 1, 1)

    traffic = traffic_during(world, name, 12, shrink)
    assert failures(traffic) == []
    reasons = {event["reason"] for event in world.events(name)}
    assert {"RoleFlipped", "EngineDrained"} <= reasons


def test_a_new_template_rolls_out_while_the_service_serves(world: World, name: str) -> None:
    world.serve(name, **static(1, 2))
    world.wait_for_sizes(name, 1, 2)
    before = set(world.reach.engines(name))

    def roll() -> None:
        world.edit(name, engine={"template": {**world.sample(name)["spec"]["engine"]["template"],
                                              "metadata": {"annotations": {"rolled": "yes"}}}})  # fmt: skip
        wait_for(
            "all engines anew", lambda: not before & set(world.reach.engines(name)), 150 * world.patience
        )
        world.wait_for_sizes(name, 1, 2)

    assert failures(traffic_during(world, name, 30 * min(world.patience, 4), roll)) == []


def test_the_router_serves_on_while_the_operator_is_killed_and_comes_back(world: World, name: str) -> None:
    world.serve(name, **static(1, 1))
    before = world.kubectl.json("get", "deployment", f"{name}-engine")["metadata"]

    def kill() -> None:
        first = world.operator_pods()
        namespace = ("-n", deploy.OPERATOR_NAMESPACE)
        world.kubectl.run("delete", *first, *namespace, "--grace-period=0", "--force", "--wait=false")

        def replaced() -> bool:
            return deploy.operator_ready(world.kubectl) and world.operator_pods() != first

        wait_for("another operator", replaced, 90)

    assert failures(traffic_during(world, name, 15, kill)) == []
    after = world.kubectl.json("get", "deployment", f"{name}-engine")["metadata"]
    assert after["uid"] == before["uid"]
    world.edit(
        name, **static(1, 2)
    )  # the new one acts, at the latest when the Lease of the dead one has run out
    world.wait_for_sizes(name, 1, 2, limit_s=120)


def test_a_lost_engine_is_replaced_and_given_its_role(world: World, name: str) -> None:
    world.serve(name, **static(1, 2))
    world.wait_for_sizes(name, 1, 2)
    victim = next(iter(world.reach.engines(name)))
    world.kubectl.run("delete", "pod", victim, "--grace-period=0", "--force", "--wait=false")
    time.sleep(2)
    world.wait_for_sizes(name, 1, 2)
    assert victim not in world.reach.engines(name)


def test_the_api_server_may_be_away_for_half_a_minute(world: World, name: str) -> None:
    world.serve(name, **static(1, 1))

    def outage() -> None:
        world.stop_api_server()
        time.sleep(30)
        world.start_api_server()

    traffic = traffic_during(world, name, 35, outage)
    assert failures(traffic) == []
    world.edit(name, **static(1, 2))
    world.wait_for_sizes(name, 1, 2, limit_s=90)


def test_a_service_without_room_says_so_and_goes_on(world: World, name: str) -> None:
    world.serve(name, **static(1, 1))
    too_much = {"containers": [{"name": "engine", "resources": {"requests": {"cpu": "900"}}}]}
    template = world.sample(name)["spec"]["engine"]["template"]
    spec = {
        **template["spec"],
        "containers": [{**template["spec"]["containers"][0], **too_much["containers"][0]}],
    }
    world.edit(name, engine={"template": {"spec": spec}})
    wait_for("Unschedulable", lambda: any(e["reason"] == "Unschedulable" for e in world.events(name)), 60)
    assert world.kubectl.condition(name, "Ready")[0] == "True"
    assert failures(traffic_during(world, name, 5, lambda: None)) == []


def test_deleting_a_service_leaves_nothing_behind(world: World, name: str) -> None:
    world.serve(name)
    deploy.delete_service(world.kubectl, name, 90 * world.patience)
    assert deploy.left_over(world.kubectl, name) == []
