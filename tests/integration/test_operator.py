"""The operator against a real API server with its controllers; no kubelet, so pods stay pending."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.api_server import ApiServer
from integration.operators import LiveService, Operators, until
from pdoperator.api import names


@pytest.fixture(scope="module", autouse=True)
def operator(controllers: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One operator for all tests of this file."""
    operators = Operators(controllers, tmp_path_factory.mktemp("operator"))
    operators.start("one")
    yield
    operators.stop_all()


@pytest.fixture
def reconciled(live_service: LiveService) -> LiveService:
    """A service with all its children."""
    live_service.apply()
    live_service.until_all_children()
    return live_service


def test_an_object_becomes_its_children(reconciled: LiveService) -> None:
    assert reconciled.engines()["spec"]["replicas"] == 2
    until(lambda: reconciled.condition("Ready").get("status") == "False", "status")


def test_a_hand_edited_child_is_put_back(controllers: ApiServer, reconciled: LiveService) -> None:
    deployment = f"deployment/{reconciled.name}-engine"
    controllers.kubectl("set", "image", deployment, "engine=evil:1")
    controllers.kubectl("scale", deployment, "--replicas=5")

    def restored() -> bool:
        spec = reconciled.engines()["spec"]
        return bool(spec["replicas"] == 2 and spec["template"]["spec"]["containers"][0]["image"] != "evil:1")

    until(restored, "image and replicas as rendered")


@pytest.mark.parametrize("kind", ["deployment", "service", "configmap", "rolebinding"])
def test_a_deleted_child_comes_back(controllers: ApiServer, reconciled: LiveService, kind: str) -> None:
    controllers.kubectl("delete", kind, "-l", f"{names.LABEL_SERVICE}={reconciled.name}", "--wait=true")
    reconciled.until_all_children()


def test_an_edit_that_cannot_pair_is_refused_and_changes_nothing(reconciled: LiveService) -> None:
    before = reconciled.children()
    reconciled.body["spec"]["decode"] = {"args": ["--kv-cache-dtype", "fp8"]}
    reconciled.apply()
    until(lambda: reconciled.condition("AbleToScale").get("reason") == "CannotPair", "the reason")
    assert "make them equal" in reconciled.condition("AbleToScale")["message"]
    assert reconciled.children() == before
    assert reconciled.events().count("CannotPair") == 1


def test_deleting_the_object_leaves_nothing_behind(controllers: ApiServer, reconciled: LiveService) -> None:
    controllers.kubectl("delete", "pdis", reconciled.name, "--wait=true", "--timeout=20s")
    until(lambda: not reconciled.children(), "nothing left")
