"""Events: one object a message, its count raised, whatever happens between look and write."""

from __future__ import annotations

from typing import Any

from fake_kube import FakeKube
from pdoperator.api.reasons import Reason
from pdoperator.cluster.events import MESSAGE_LIMIT, Event, Subject, post
from pdoperator.cluster.kube import Object

SUBJECT = Subject("team-a", "tiny", "uid-tiny")
FLIPPED = Event(Reason.ROLE_FLIPPED, "a: decode to prefill in 1.2 s")


def only(kube: FakeKube) -> Object:
    (event,) = kube.find("Event")
    return event


async def test_an_event_names_the_service_its_reason_and_its_kind() -> None:
    kube = FakeKube()
    await post(kube, SUBJECT, Event(Reason.DRAIN_TIMEOUT, "slow", warning=True))
    event = only(kube)
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "DrainTimeout", "slow")
    assert (event["involvedObject"]["name"], event["involvedObject"]["uid"]) == ("tiny", "uid-tiny")
    assert event["count"] == 1


async def test_the_same_again_raises_the_count() -> None:
    kube = FakeKube()
    for _ in range(3):
        await post(kube, SUBJECT, FLIPPED)
    assert only(kube)["count"] == 3


async def test_other_words_or_another_object_of_that_name_are_another_event() -> None:
    kube = FakeKube()
    await post(kube, SUBJECT, FLIPPED)
    await post(kube, SUBJECT, Event(Reason.ROLE_FLIPPED, "b: decode to prefill in 1.2 s"))
    await post(kube, Subject("team-a", "tiny", "another-uid"), FLIPPED)
    assert [event["count"] for event in kube.find("Event")] == [1, 1, 1]


async def test_one_that_came_between_look_and_write_is_counted() -> None:
    kube = FakeKube()
    await post(kube, SUBJECT, FLIPPED)
    kube.fail("GET", "/events/", 404)  # another operator makes it just after our look
    await post(kube, SUBJECT, FLIPPED)
    assert only(kube)["count"] == 2


async def test_one_that_ran_out_between_look_and_write_is_made_anew() -> None:
    class Expiring(FakeKube):
        async def patch(self, *args: Any, **more: Any) -> Object:
            self.objects.clear()
            return await super().patch(*args, **more)

    kube = Expiring()
    await post(kube, SUBJECT, FLIPPED)
    await post(kube, SUBJECT, FLIPPED)
    assert only(kube)["count"] == 1


async def test_a_long_message_is_cut() -> None:
    kube = FakeKube()
    await post(kube, SUBJECT, Event(Reason.ENGINE_FAILED, "x" * 5000))
    assert len(only(kube)["message"]) == MESSAGE_LIMIT
