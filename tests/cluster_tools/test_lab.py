from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from cluster.lab.addresses import AddressPool
from cluster.lab.container import Backoff, tail
from cluster.lab.environment import Unsupported, command_line, environment, expand
from cluster.lab.logs import tail_start
from cluster.lab.probes import Judge, Probe
from cluster.lab.status import ContainerState, phase, pod_status, restart_wanted, terminated

NOW = "2026-01-01T00:00:10Z"
POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"pdoperator.io/role": "decode"}},
    "spec": {"nodeName": "lab", "containers": [{"name": "c"}]},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)/x", "1/x"),
        ("$$(A)", "$(A)"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$A", "$A"),
        ("$(A)$(A)", "11"),
        ("100$", "100$"),
    ],
)
def test_references_expand_as_in_kubernetes(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


def test_a_variable_may_refer_only_to_those_before_it() -> None:
    container = {
        "env": [
            {"name": "EARLY", "value": "$(POD_IP)"},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "LATE", "value": "$(POD_IP):5600"},
        ]
    }
    got = environment(container, POD, "127.1.0.1", lambda _: None)
    assert got == {"EARLY": "$(POD_IP)", "POD_IP": "127.1.0.1", "LATE": "127.1.0.1:5600"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "n"),
        ("spec.nodeName", "lab"),
        ("metadata.labels['pdoperator.io/role']", "decode"),
        ("metadata.annotations['none']", ""),
    ],
)
def test_the_downward_api_tells_about_the_pod(path: str, expected: str) -> None:
    container = {"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}]}
    assert environment(container, POD, "127.1.0.1", lambda _: None) == {"X": expected}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"name": "cm", "key": "there"}, {"X": "yes"}),
        ({"name": "cm", "key": "missing", "optional": True}, {}),
        ({"name": "none", "key": "there", "optional": True}, {}),
    ],
)
def test_config_map_keys_become_variables(reference: dict[str, Any], expected: dict[str, str]) -> None:
    container = {"env": [{"name": "X", "valueFrom": {"configMapKeyRef": reference}}]}
    assert environment(container, POD, "", {"cm": {"there": "yes"}}.get) == expected


@pytest.mark.parametrize(
    "entry",
    [
        {"configMapKeyRef": {"name": "cm", "key": "missing"}},
        {"secretKeyRef": {"name": "s", "key": "k"}},
        {"fieldRef": {"fieldPath": "spec.unheard"}},
    ],
)
def test_what_cannot_be_resolved_is_refused_rather_than_left_empty(entry: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        environment({"env": [{"name": "X", "valueFrom": entry}]}, POD, "", {"cm": {"k": "v"}}.get)


def test_a_container_without_a_command_is_refused() -> None:
    with pytest.raises(Unsupported, match="command"):
        command_line({"args": ["serve"]}, {})


def _judge(verdict: bool, success: int = 1, failure: int = 3) -> Judge:
    return Judge(Probe("http://x", (), 0, 1, 1, success, failure), verdict)


def test_a_verdict_falls_only_after_as_many_failures_in_a_row() -> None:
    judge = _judge(True)
    results = [False, False, True, False, False, False]
    assert [(judge.add(result), judge.verdict)[1] for result in results] == [True] * 5 + [False]


def test_a_verdict_rises_only_after_as_many_successes_in_a_row() -> None:
    judge = _judge(False, success=2)
    assert [(judge.add(result), judge.verdict)[1] for result in [True, False, True, True]] == [False] * 3 + [
        True
    ]


def test_restarts_come_at_once_then_ever_later_and_a_long_run_is_forgiven() -> None:
    backoff = Backoff()
    assert [backoff.delay_s(1) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert backoff.delay_s(700) == 0


@pytest.mark.parametrize(
    ("policy", "code", "expected"),
    [("Always", 0, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_restart_policy(policy: str, code: int, expected: bool) -> None:
    assert restart_wanted(policy, code) is expected


def test_a_killed_process_has_the_exit_code_of_a_shell() -> None:
    assert terminated(-9, NOW, NOW, "", "")["terminated"]["exitCode"] == 137


def _state(**more: Any) -> ContainerState:
    return ContainerState("c", "image", **more)


def test_a_pod_is_pending_until_every_container_has_run() -> None:
    assert phase([_state(has_run=True), _state()], finished=False) == "Pending"
    assert phase([_state(has_run=True), _state(has_run=True)], finished=False) == "Running"


@pytest.mark.parametrize(("code", "expected"), [(0, "Succeeded"), (1, "Failed")])
def test_a_finished_pod_tells_how_it_ended(code: int, expected: str) -> None:
    state = _state(has_run=True, state=terminated(code, NOW, NOW, "", ""))
    assert phase([state], finished=True) == expected


def _conditions(pod: dict[str, Any], state: ContainerState) -> dict[str, Any]:
    status = pod_status(pod, "127.1.0.1", [state], finished=False, now=NOW)
    return {one["type"]: one for one in status["conditions"]}


def test_a_readiness_gate_keeps_a_pod_from_ready_but_not_its_containers() -> None:
    gated = POD | {"spec": POD["spec"] | {"readinessGates": [{"conditionType": "pdoperator.io/go"}]}}
    found = _conditions(gated, _state(ready=True))
    assert (found["ContainersReady"]["status"], found["Ready"]["status"]) == ("True", "False")
    opened = gated | {"status": {"conditions": [{"type": "pdoperator.io/go", "status": "True"}]}}
    assert _conditions(opened, _state(ready=True))["Ready"]["status"] == "True"


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    long_ago = "2020-01-01T00:00:00Z"
    before = {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": long_ago}]}
    pod = POD | {"status": before}
    assert _conditions(pod, _state(ready=False))["Ready"]["lastTransitionTime"] == long_ago
    assert _conditions(pod, _state(ready=True))["Ready"]["lastTransitionTime"] == NOW


def test_a_new_address_replaces_the_one_of_an_earlier_life() -> None:
    status = pod_status(POD, "127.1.0.1", [_state()], finished=False, now=NOW)
    assert {"$patch": "replace"} in status["podIPs"]


def test_addresses_differ_and_are_not_used_again_at_once() -> None:
    pool = AddressPool(IPv4Network("127.9.0.0/29"))
    first, second = pool.take(), pool.take()
    pool.give_back(first)
    assert len({first, second, pool.take()}) == 3
    for _ in range(4):
        pool.take()
    with pytest.raises(LookupError):
        pool.take()


def test_a_termination_message_is_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_text("".join(f"line {number}\n" for number in range(500)))
    message = tail(log)
    assert message.endswith("line 499\n")
    assert len(message) <= 2048
    assert len(message.splitlines()) <= 80


@pytest.mark.parametrize(("lines", "expected"), [(1, "c\n"), (2, "b\nc\n"), (9, "a\nb\nc\n"), (0, "")])
def test_the_last_lines_of_a_log(tmp_path: Path, lines: int, expected: str) -> None:
    log = tmp_path / "0.log"
    log.write_text("a\nb\nc\n")
    assert log.read_text()[tail_start(log, lines) :] == expected
