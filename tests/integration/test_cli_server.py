"""pdctl's commands for services against a real API server: what it takes, refuses and serves."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from integration.api_server import ApiServer
from pdoperator.api import names
from pdoperator.api.reasons import Bottleneck, Reason
from pdoperator.api.status import Status
from pdoperator.api.values import PerRole, Value
from pdoperator.cli.main import run
from pdoperator.controller.situation import Situation
from pdoperator.controller.status import build_status
from pdoperator.forecast.demand import Demand
from pdoperator.forecast.forecasted import Forecasted
from pdoperator.planning.decision import Candidate, Decision
from pdoperator.planning.observation import Observation, SloCounts, Transfers

NAME = "told"


def full_status() -> Status:
    """A status with everything that a decision can tell."""
    seen = Observation(
        at_s=0.0,
        engines=(),
        demand=Value(Demand(2.5, 512, 64, prefix_hit=0.2)),
        tpot_s=Value(0.03),
        ttft_s=Value(0.4),
        slo=Value(SloCounts(100, 3)),
        startup_p90_s=Value(70.0),
        transfers=Value(Transfers(10, 1)),
    )
    decision = Decision(
        at_s=0.0,
        target=PerRole(3, 5),
        wanted=PerRole(4, 5),
        reason=Reason.FORECAST,
        message="forecast 4.0 req/s needs it",
        limited=Reason.GPU_BUDGET,
        bottleneck=Bottleneck.PREFILL,
        forecast=Forecasted(Demand(4.0, 512, 64), "MSTL", 120.0, skill=0.2, trusted=True),
        evidence=("12 requests wait",),
        candidates=(Candidate(PerRole(3, 5)), Candidate(PerRole(2, 5), "TTFT p90 2.4 s over 2 s")),
        without_forecast=PerRole(2, 3),
    )
    situation = Situation(
        service=NAME,
        generation=1,
        target=PerRole(3, 5),
        observation=seen,
        decided_on=seen,
        routers_ready=0,
        problems=(),
        decision=decision,
        scaling_enabled=True,
        dry_run=False,
        obstacle=None,
    )
    return build_status(situation, Status(), "2026-11-25T22:00:00Z")


@pytest.fixture
def service(api_server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    monkeypatch.setenv("KUBECONFIG", str(api_server.kubeconfig))
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {"model": {"name": "m"}, "hardware": {"preset": "cpu"}},
    }
    api_server.kubectl("create", "-f", "-", stdin=body)
    status = json.dumps({"status": full_status().model_dump(by_alias=True, mode="json")})
    api_server.kubectl("patch", "pdis", NAME, "--subresource=status", "--type=merge", "-p", status)
    yield api_server
    api_server.kubectl("delete", "pdis", NAME, "--wait=false")


def test_all_that_a_decision_tells_survives_the_crds_schema(
    service: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Status.model_validate(service.json("get", "pdis", NAME)["status"])
    assert kept == full_status()
    assert run(["explain", NAME, "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["decision"]
    assert (told["without_forecast"], told["evidence"]) == ({"prefill": 2, "decode": 3}, ["12 requests wait"])


def test_pauses_are_what_the_crd_takes(service: ApiServer) -> None:
    assert run(["pause", NAME, "--role", "decode", "--direction", "down", "--until", "2h"]) == 0
    assert run(["pause", NAME]) == 0
    pauses = service.json("get", "pdis", NAME)["spec"]["autoscaling"]["pause"]
    assert [pause.get("role") for pause in pauses] == ["Decode", None]
    assert run(["resume", NAME]) == 0
    assert service.json("get", "pdis", NAME)["spec"]["autoscaling"]["pause"] == []
    managers = [
        e["manager"]
        for e in service.json("get", "pdis", NAME, "--show-managed-fields")["metadata"]["managedFields"]
    ]
    assert names.CLI_FIELD_MANAGER in managers


def test_doctor_asks_the_real_server_for_rights(
    service: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", NAME, "-o", "json"]) == 1  # no pod is there, nothing serves
    checks = {each["check"]: each["outcome"] for each in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["you may patch pdinferenceservices"] == "ok"
    assert checks["pods"] == "failed"
    assert checks["Ready is False"] == "failed"
    assert run(["top", NAME, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["engines"] == []
