"""The operator against a real API server with its controllers; no kubelet, so pods stay pending."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.api_server import ApiServer
from pdoperator.api import names

LIMIT_S = 120.0
CHILDREN = "deployment,service,configmap,serviceaccount,role,rolebinding"


class Operators:
    """Operator processes of one test."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, identity: str) -> subprocess.Popen[bytes]:
        """One more operator."""
        env = {**os.environ, "KUBECONFIG": str(self._server.kubeconfig), "PD_OPERATOR_IMAGE": "op:1"}
        port = str(9000 + len(self._running))
        command = [
            str(Path(sys.executable).parent / "pd-operator"),
            "run",
            "--host",
            "127.0.0.1",
            "--port",
            port,
        ]
        with (self._folder / f"{identity}.log").open("wb") as log:
            process = subprocess.Popen([*command, "--identity", identity], env=env, stdout=log, stderr=log)
        self._running.append(process)
        return process

    def log(self, identity: str) -> str:
        """What an operator wrote."""
        return (self._folder / f"{identity}.log").read_text()

    def stop_all(self) -> None:
        """End them gracefully, so that each gives its Lease back."""
        for process in self._running:
            if process.poll() is None:
                process.terminate()
        for process in self._running:
            process.wait(90)


@pytest.fixture
def operators(controllers: ApiServer, tmp_path: Path) -> Iterator[Operators]:
    started = Operators(controllers, tmp_path)
    yield started
    started.stop_all()


@pytest.fixture
def service(controllers: ApiServer, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:30].strip("-")
    yield {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"model": {"name": "m"}, "hardware": {"preset": "cpu"}, "autoscaling": {"interval": "2s"}},
    }
    controllers.kubectl("delete", "pdis", name, "--ignore-not-found", "--wait=false")


def until(check: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    end = time.monotonic() + limit_s
    while not check():
        assert time.monotonic() < end, f"{what}: not within {limit_s:.0f} s"
        time.sleep(0.2)


def present(server: ApiServer, service: dict[str, Any]) -> set[str]:
    label = f"{names.LABEL_SERVICE}={service['metadata']['name']}"
    return set(server.kubectl("get", CHILDREN, "-l", label, "-o", "name").split())


def condition(server: ApiServer, service: dict[str, Any], kind: str) -> dict[str, Any]:
    found = server.json("get", "pdis", service["metadata"]["name"])
    listed = found.get("status", {}).get("conditions", [])
    return next((each for each in listed if each["type"] == kind), {})


def test_an_object_becomes_its_children(
    controllers: ApiServer, operators: Operators, service: dict[str, Any]
) -> None:
    operators.start("one")
    controllers.kubectl("create", "-f", "-", stdin=service)
    until(lambda: len(present(controllers, service)) == 8, "eight children")
    name = service["metadata"]["name"]
    assert controllers.json("get", "deployment", f"{name}-engine")["spec"]["replicas"] == 2
    until(lambda: condition(controllers, service, "Ready").get("status") == "False", "status")


def test_a_hand_edited_child_is_put_back(
    controllers: ApiServer, operators: Operators, service: dict[str, Any]
) -> None:
    operators.start("one")
    controllers.kubectl("create", "-f", "-", stdin=service)
    until(lambda: len(present(controllers, service)) == 8, "eight children")
    name = f"{service['metadata']['name']}-engine"
    controllers.kubectl("set", "image", f"deployment/{name}", "engine=evil:1")
    controllers.kubectl("scale", f"deployment/{name}", "--replicas=5")

    def restored() -> bool:
        spec = controllers.json("get", "deployment", name)["spec"]
        return bool(spec["replicas"] == 2 and spec["template"]["spec"]["containers"][0]["image"] != "evil:1")

    until(restored, "image and replicas as rendered")


@pytest.mark.parametrize("kind", ["deployment", "service", "configmap", "rolebinding"])
def test_deleted(controllers: ApiServer, operators: Operators, service: dict[str, Any], kind: str) -> None:
    """A deleted child comes back."""
    service["metadata"]["name"] = f"deleted-{kind}"
    operators.start("one")
    controllers.kubectl("create", "-f", "-", stdin=service)
    until(lambda: len(present(controllers, service)) == 8, "eight children")
    controllers.kubectl("delete", kind, "-l", f"{names.LABEL_SERVICE}=deleted-{kind}", "--wait=true")
    until(lambda: len(present(controllers, service)) == 8, "eight children again")
    controllers.kubectl("delete", "pdis", f"deleted-{kind}", "--wait=false")


def test_an_edit_while_the_operator_is_away_is_made_up_for(
    controllers: ApiServer, operators: Operators, service: dict[str, Any]
) -> None:
    first = operators.start("one")
    controllers.kubectl("create", "-f", "-", stdin=service)
    until(lambda: len(present(controllers, service)) == 8, "eight children")
    first.terminate()
    assert first.wait(90) == 0
    service["spec"]["engine"] = {"args": ["--seed", "7"]}
    controllers.kubectl("apply", "-f", "-", stdin=service)
    name = f"{service['metadata']['name']}-engine"
    operators.start("two")

    def applied() -> bool:
        spec = controllers.json("get", "deployment", name)["spec"]["template"]["spec"]
        return bool(spec["containers"][0]["args"][-2:] == ["--seed", "7"])

    until(applied, "the new arguments")


def test_a_restart_changes_nothing(
    controllers: ApiServer, operators: Operators, service: dict[str, Any]
) -> None:
    first = operators.start("one")
    controllers.kubectl("create", "-f", "-", stdin=service)
    name = service["metadata"]["name"]
    until(lambda: condition(controllers, service, "Ready") != {}, "status")
    before = controllers.json("get", "deployment", f"{name}-engine")["metadata"]
    first.terminate()
    assert first.wait(90) == 0
    operators.start("two")
    until(lambda: "leading" in operators.log("two"), "the second one leads")
    time.sleep(4)
    after = controllers.json("get", "deployment", f"{name}-engine")["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])


def test_an_edit_that_cannot_pair_is_refused_and_changes_nothing(
    controllers: ApiServer, operators: Operators, service: dict[str, Any]
) -> None:
    operators.start("one")
    controllers.kubectl("create", "-f", "-", stdin=service)
    until(lambda: len(present(controllers, service)) == 8, "eight children")
    before = present(controllers, service)
    service["spec"]["decode"] = {"args": ["--kv-cache-dtype", "fp8"]}
    controllers.kubectl("apply", "-f", "-", stdin=service)
    until(lambda: condition(controllers, service, "AbleToScale").get("reason") == "CannotPair", "the reason")
    assert "make them equal" in condition(controllers, service, "AbleToScale")["message"]
    assert present(controllers, service) == before
    events = controllers.kubectl(
        "get", "events", "--field-selector", f"involvedObject.name={service['metadata']['name']}"
    )
    assert events.count("CannotPair") == 1


def test_of_two_operators_one_works(
    controllers: ApiServer, operators: Operators, service: dict[str, Any]
) -> None:
    operators.start("one")
    until(lambda: "leading" in operators.log("one"), "the first one leads")
    second = operators.start("two")
    controllers.kubectl("create", "-f", "-", stdin=service)
    until(lambda: len(present(controllers, service)) == 8, "eight children")
    assert "leading" not in operators.log("two")
    assert second.poll() is None


def test_deleting_the_object_leaves_nothing_behind(
    controllers: ApiServer, operators: Operators, service: dict[str, Any]
) -> None:
    operators.start("one")
    controllers.kubectl("create", "-f", "-", stdin=service)
    until(lambda: len(present(controllers, service)) == 8, "eight children")
    controllers.kubectl("delete", "pdis", service["metadata"]["name"], "--wait=true", "--timeout=20s")
    until(lambda: not present(controllers, service), "nothing left", limit_s=60)
