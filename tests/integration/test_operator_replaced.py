"""Operators that come, go and stand by: what they leave to each other."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.api_server import ApiServer
from integration.operators import LiveService, Operators, until


@pytest.fixture
def operators(controllers: ApiServer, tmp_path: Path) -> Iterator[Operators]:
    """No operator yet; all that a test starts ends with it."""
    started = Operators(controllers, tmp_path)
    yield started
    started.stop_all()


@pytest.fixture
def first(operators: Operators, live_service: LiveService) -> subprocess.Popen[bytes]:
    """An operator `one` that has brought about the service's children and its status."""
    process = operators.start("one")
    live_service.apply()
    live_service.until_all_children()
    until(lambda: live_service.condition("Ready") != {}, "status")
    return process


def test_an_edit_while_the_operator_is_away_is_made_up_for(
    operators: Operators, first: subprocess.Popen[bytes], live_service: LiveService
) -> None:
    first.terminate()
    assert first.wait(90) == 0
    live_service.body["spec"]["engine"] = {"args": ["--seed", "7"]}
    live_service.apply()
    operators.start("two")

    def applied() -> bool:
        spec = live_service.engines()["spec"]["template"]["spec"]
        return bool(spec["containers"][0]["args"][-2:] == ["--seed", "7"])

    until(applied, "the new arguments")


def test_a_restart_changes_nothing(
    operators: Operators, first: subprocess.Popen[bytes], live_service: LiveService
) -> None:
    before = live_service.engines()["metadata"]
    first.terminate()
    assert first.wait(90) == 0
    operators.start("two")
    until(lambda: operators.leads("two"), "the second one leads")
    time.sleep(4)  # two intervals of the service
    after = live_service.engines()["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])


def test_of_two_operators_one_works(operators: Operators, live_service: LiveService) -> None:
    operators.start("one")
    until(lambda: operators.leads("one"), "the first one leads")
    second = operators.start("two")
    live_service.apply()
    live_service.until_all_children()
    assert not operators.leads("two")
    assert second.poll() is None
