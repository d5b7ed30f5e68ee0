"""The newest known state of objects."""

from __future__ import annotations

from pdoperator.api import names
from pdoperator.cluster.kube import DEPLOYMENTS, PODS, Object, Resource
from pdoperator.cluster.store import Key, Store

KEY = ("team-a", "tiny")


def pod(name: str, version: int, uid: str = "u", service: str = "tiny") -> Object:
    labels = {names.LABEL_SERVICE: service}
    metadata = {
        "name": name,
        "namespace": "team-a",
        "uid": uid,
        "resourceVersion": str(version),
        "labels": labels,
    }
    return {"metadata": metadata}


class Told:
    def __init__(self) -> None:
        self.calls: list[tuple[Key, Resource]] = []

    def __call__(self, key: Key, resource: Resource) -> None:
        self.calls.append((key, resource))


def test_our_own_write_is_seen_at_once_and_wakes_nobody() -> None:
    told = Told()
    store = Store(told)
    store.written(PODS, pod("a", 5))
    store.seen(PODS, pod("a", 5))
    assert store.pods(KEY) == [pod("a", 5)]
    assert told.calls == []


def test_an_older_event_does_not_undo_a_newer_write() -> None:
    store = Store(Told())
    store.written(PODS, pod("a", 10))
    store.seen(PODS, pod("a", 9))
    assert store.pods(KEY) == [pod("a", 10)]


def test_a_pod_made_anew_under_the_same_name_replaces_the_old_one() -> None:
    store = Store(Told())
    store.seen(PODS, pod("a", 10, uid="old"))
    store.seen(PODS, pod("a", 3, uid="new"))
    store.gone(PODS, pod("a", 11, uid="old"))
    assert store.pods(KEY) == [pod("a", 3, uid="new")]


def test_what_a_fresh_list_lacks_is_gone() -> None:
    told = Told()
    store = Store(told)
    store.seen(PODS, pod("a", 1, uid="1"))
    store.seen(PODS, pod("b", 2, uid="2"))
    told.calls.clear()
    store.listed(PODS, [pod("b", 2, uid="2")])
    assert store.pods(KEY) == [pod("b", 2, uid="2")]
    assert told.calls == [(KEY, PODS)]


def test_kinds_and_services_are_kept_apart() -> None:
    store = Store(Told())
    store.seen(PODS, pod("a", 1))
    store.seen(DEPLOYMENTS, pod("a", 2, uid="d"))
    store.seen(PODS, pod("a", 3, uid="o", service="other"))
    assert store.pods(KEY) == [pod("a", 1)]
    assert store.deployments(KEY) == {"a": pod("a", 2, uid="d")}


def test_a_list_of_one_namespace_says_nothing_of_another() -> None:
    store = Store(Told())
    store.seen(PODS, pod("a", 1))
    store.listed(PODS, [], namespace="team-b")
    assert store.pods(KEY) == [pod("a", 1)]
    store.listed(PODS, [], namespace="team-a")
    assert store.pods(KEY) == []


def test_the_answer_to_a_write_does_not_bring_back_what_was_deleted_meanwhile() -> None:
    store = Store(Told())
    store.seen(PODS, pod("a", 1))
    store.gone(PODS, pod("a", 3))
    store.written(PODS, pod("a", 2))
    assert store.pods(KEY) == []


def test_an_object_that_got_its_label_back_is_known_again() -> None:
    store = Store(Told())
    store.seen(PODS, pod("a", 1))
    store.gone(PODS, pod("a", 2))  # as the watch tells of an object that lost its label
    store.seen(PODS, pod("a", 3))
    store.written(PODS, pod("a", 4))
    assert store.pods(KEY) == [pod("a", 4)]


def test_a_deployments_status_wakes_nobody_and_an_edit_does() -> None:
    told = Told()
    store = Store(told)
    store.written(DEPLOYMENTS, {"kind": "Deployment", **pod("a", 1), "spec": {"replicas": 2}})
    store.seen(DEPLOYMENTS, {**pod("a", 2), "spec": {"replicas": 2}, "status": {"replicas": 2}})
    assert told.calls == []
    store.seen(DEPLOYMENTS, {**pod("a", 3), "spec": {"replicas": 5}})
    assert told.calls == [(KEY, DEPLOYMENTS)]


def test_nothing_is_kept_of_a_service_without_objects() -> None:
    store = Store(Told())
    store.seen(PODS, pod("a", 1))
    store.gone(PODS, pod("a", 2))
    assert store._objects == {"Pod": {}}
