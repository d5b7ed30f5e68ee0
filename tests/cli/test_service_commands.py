"""Commands that look at a service or pause it, against an API server in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from fake_kube import FakeKube
from pdoperator.api import names
from pdoperator.cli import services
from pdoperator.cli.main import run
from pdoperator.cluster.kube import PD_SERVICES, PODS

PATH = PD_SERVICES.path("team-a", "tiny")
DEMAND = {"requestsPerSecond": 2.5, "inputTokens": 512, "outputTokens": 64, "prefixHit": 0.2}
DECISION = {
    "time": "2026-11-25T22:00:00Z",
    "prefill": 3,
    "decode": 5,
    "reason": "Forecast",
    "message": "forecast 4.0 req/s needs it",
    "wanted": {"prefill": 4, "decode": 5},
    "limited": "GPUBudget",
    "demand": DEMAND,
    "forecast": {"model": "MSTL", "horizonSeconds": 120, "demand": DEMAND, "skill": 0.2},
    "bottleneck": "Prefill",
    "evidence": ["12 requests wait to be prefilled"],
    "candidates": [
        {"prefill": 3, "decode": 5},
        {"prefill": 2, "decode": 5, "rejected": "TTFT p90 2.4 s over 2 s"},
    ],
    "withoutForecast": {"prefill": 2, "decode": 3},
}
OLDER = {"time": "2026-11-25T21:00:00Z", "prefill": 1, "decode": 1, "reason": "Idle", "message": "no request"}
STATUS = {
    "observedGeneration": 3,
    "mode": "Disaggregated",
    "prefillSummary": "2/3",
    "decisions": [DECISION, OLDER],
    "bottleneck": "Prefill",
    "demand": DEMAND,
    "signals": [
        {"name": "queues", "state": "Fresh", "ageSeconds": 1, "usedAs": "AsRead", "message": "12 wait"}
    ],
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "AllServing",
            "lastTransitionTime": "2026-11-25T21:00:00Z",
        },
        {
            "type": "Paused",
            "status": "False",
            "reason": "NotPaused",
            "lastTransitionTime": "2026-11-25T21:00:00Z",
        },
    ],
}


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> FakeKube:
    fake = FakeKube()
    metadata = {"name": "tiny", "namespace": "team-a", "generation": 3}
    fake.put(PATH, {"kind": names.KIND, "metadata": metadata, "spec": {"autoscaling": {}}, "status": STATUS})

    async def connected(work: Callable[[FakeKube], Any]) -> Any:
        return await work(fake)

    monkeypatch.setattr(services, "_connected", connected)
    for module in ("services", "doctor"):
        monkeypatch.setattr(f"pdoperator.cli.{module}.default_namespace", lambda: "team-a")
    return fake


def has_pod(kube: FakeKube, name: str, role: str, **status: Any) -> None:
    labels = {names.LABEL_SERVICE: "tiny", names.LABEL_COMPONENT: "engine", names.LABEL_ROLE: role}
    status.setdefault("conditions", [{"type": "Ready", "status": "True"}])
    kube.put(PODS.path("team-a", name), {"metadata": {"name": name, "labels": labels}, "status": status})


def pauses(kube: FakeKube) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = kube.objects[PATH]["spec"]["autoscaling"].get("pause", [])
    return found


def test_explain_tells_inputs_candidates_and_what_would_be_without_the_forecast(
    kube: FakeKube, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", "tiny"]) == 0
    out = capsys.readouterr().out
    for part in (
        "3P:5D",
        "2.5 req/s",
        "20% of the input cached",
        "MSTL",
        "2P:3D",
        "GPUBudget",
        "TTFT p90 2.4 s",
    ):
        assert part in out


def test_explain_gives_one_decision_as_json_with_its_signals_only_if_it_is_the_newest(
    kube: FakeKube, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", "tiny", "-o", "json"]) == 0
    newest = json.loads(capsys.readouterr().out)
    assert newest["decision"]["without_forecast"] == {"prefill": 2, "decode": 3}
    assert [signal["name"] for signal in newest["signals"]] == ["queues"]
    assert run(["explain", "tiny", "--decision", "2", "-o", "yaml"]) == 0
    older = yaml.safe_load(capsys.readouterr().out)
    assert (older["decision"]["reason"], older["signals"]) == ("Idle", [])


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["explain", "tiny", "--decision", "3"], 2, "tiny has 2 decisions"),
        (["explain", "tiny", "--decision", "0"], 2, "0 is not in the range"),
        (["explain", "nobody"], 1, "there is no PDInferenceService nobody in namespace team-a"),
        (["history", "tiny", "-n", "team-b"], 1, "in namespace team-b"),
        (["pause", "tiny", "--until", "tomorrow"], 2, "neither a duration (2h) nor a time"),
        (["pause", "tiny", "--until", "2020-01-01T00:00:00Z"], 2, "is over"),
        (["pause", "tiny", "--role", "both"], 2, "'both' is not one of"),
        (["resume", "tiny"], 1, "tiny has no such pause"),
        (["top", "tiny", "--watch", "-o", "json"], 2, "--watch draws a table"),
    ],
)
def test_what_cannot_be_is_one_line(
    kube: FakeKube, capsys: pytest.CaptureFixture[str], command: list[str], code: int, said: str
) -> None:
    assert run(command) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_an_api_server_that_is_away_is_one_line(kube: FakeKube, capsys: pytest.CaptureFixture[str]) -> None:
    kube.away = True
    assert run(["history", "tiny"]) == 1
    assert "connection refused" in capsys.readouterr().err


def test_history_is_newest_first(kube: FakeKube, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "tiny", "-o", "json"]) == 0
    decisions = json.loads(capsys.readouterr().out)["decisions"]
    assert [decision["reason"] for decision in decisions] == ["Forecast", "Idle"]
    assert run(["history", "tiny"]) == 0
    assert "3P:5D" in capsys.readouterr().out


def test_a_pause_is_written_once_per_role_and_direction_and_resumed(kube: FakeKube) -> None:
    assert run(["pause", "tiny", "--role", "decode", "--direction", "down", "--until", "2h"]) == 0
    [pause] = pauses(kube)
    assert (pause["role"], pause["direction"]) == ("Decode", "Down")
    until = datetime.fromisoformat(pause["until"])
    assert timedelta(hours=1.9) < until - datetime.now(UTC) <= timedelta(hours=2)
    assert run(["pause", "tiny", "--role", "decode", "--direction", "down"]) == 0
    assert run(["pause", "tiny"]) == 0
    assert pauses(kube) == [{"role": "Decode", "direction": "Down"}, {}]
    assert run(["resume", "tiny", "--role", "decode", "--direction", "down"]) == 0
    assert pauses(kube) == [{}]
    assert run(["resume", "tiny"]) == 0
    assert pauses(kube) == []


def test_pause_and_resume_tell_scripts_what_is_paused_now(
    kube: FakeKube, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["pause", "tiny", "--role", "decode", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["pause"] == [{"role": "Decode"}]
    assert run(["resume", "tiny", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["pause"] == []


def test_a_pause_survives_somebody_elses_edit_in_between(kube: FakeKube) -> None:
    kube.fail("PATCH", PATH, 409)
    assert run(["pause", "tiny"]) == 0
    assert pauses(kube) == [{}]


def test_top_shows_load_and_engines_prefill_first(kube: FakeKube, capsys: pytest.CaptureFixture[str]) -> None:
    has_pod(kube, "a", "decode")
    has_pod(kube, "b", "prefill", conditions=[])
    assert run(["top", "tiny"]) == 0
    out = capsys.readouterr().out
    assert out.index("prefill ") < out.index("decode ")
    assert "12 wait" in out
    assert run(["top", "tiny", "-o", "json"]) == 0
    engines = json.loads(capsys.readouterr().out)["engines"]
    assert [(engine["pod"], engine["ready"]) for engine in engines] == [("b", False), ("a", True)]


def checks(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    return {each["check"]: each["outcome"] for each in json.loads(capsys.readouterr().out)["checks"]}


def test_doctor_finds_nothing_on_a_healthy_service(
    kube: FakeKube, capsys: pytest.CaptureFixture[str]
) -> None:
    has_pod(kube, "a", "decode")
    assert run(["doctor", "tiny", "-o", "json"]) == 0
    assert set(checks(capsys).values()) == {"ok"}


def test_doctor_names_what_is_wrong_and_ends_with_1(
    kube: FakeKube, capsys: pytest.CaptureFixture[str]
) -> None:
    kube.objects[PATH]["metadata"]["generation"] = 4
    kube.objects[PATH]["status"] = {
        **STATUS,
        "conditions": [{**STATUS["conditions"][0], "status": "False", "reason": "NoEngine"}],  # type: ignore[index]
        "signals": [{"name": "demand", "state": "Missing", "usedAs": "Hold"}],
    }
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    has_pod(kube, "a", "decode", conditions=[], containerStatuses=[{"name": "engine", "state": waiting}])
    kube.allowed = False
    assert run(["doctor", "tiny", "-o", "json"]) == 1
    found = checks(capsys)
    assert found["an operator looks after it"] == "failed"
    assert found["Ready is False"] == "failed"
    assert found["pod a"] == "failed"
    assert found["signal demand"] == "notice"
    assert found["you may list pods"] == "notice"


def test_doctor_without_a_crd_says_how_to_get_it(kube: FakeKube, capsys: pytest.CaptureFixture[str]) -> None:
    kube.fail("GET", "/pdinferenceservices", 404)
    assert run(["doctor"]) == 1
    assert "kubectl apply -f crds/" in capsys.readouterr().out
