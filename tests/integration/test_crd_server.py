"""The CRD on a real API server: established, defaulting, subresources, printer columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from integration.api_server import ApiServer
from integration.service import Tree, service
from pdoperator.api import names
from pdoperator.api.spec import Spec
from pdoperator.api.status import (
    DecisionStatus,
    DemandStatus,
    ForecastStatus,
    RoleStatus,
    Status,
    StatusCondition,
)

NOW = "2026-01-02T03:04:05Z"
FULL_STATUS = Status(
    observed_generation=1,
    conditions=[
        StatusCondition(
            type="Ready", status="True", reason="AllServing", last_transition_time=NOW, message="well"
        ),
        StatusCondition(type="Paused", status="False", reason="NotPaused", last_transition_time=NOW),
    ],
    mode="Disaggregated",
    replicas=4,
    selector=names.selector_text(names.engine_selector("service")),
    prefill=RoleStatus(desired=3, ready=1, starting=2),
    decode=RoleStatus(desired=2, ready=2, draining=1),
    prefill_summary="1/3",
    decode_summary="2/2",
    ratio="3P:2D",
    demand=DemandStatus(requests_per_second=1.5, input_tokens=100, output_tokens=20.25),
    forecast=ForecastStatus(
        model="AutoARIMA",
        horizon_seconds=15,
        demand=DemandStatus(requests_per_second=42.5, input_tokens=100, output_tokens=20),
    ),
    bottleneck="Prefill",
    last_reason="Forecast",
    decisions=[DecisionStatus(time=NOW, prefill=3, decode=2, reason="Forecast", message="42 req/s")],
)

Create = Callable[..., Tree]


@pytest.fixture
def create(api_server: ApiServer) -> Iterator[Create]:
    """Creates services that are deleted after the test."""
    made: list[str] = []

    def _create(changes: Tree | None = None, name: str = "service") -> Tree:
        made.append(name)
        return api_server.json("create", "--validate=strict", "-f", "-", stdin=service(changes, name))

    yield _create
    if made:
        api_server.kubectl("delete", names.SHORT, *made, "--ignore-not-found")


def _set_status(api_server: ApiServer, status: Status, name: str = "service") -> Tree:
    patch = json.dumps({"status": dumped(status)})
    return api_server.json("patch", names.SHORT, name, "--subresource=status", "--type=merge", "-p", patch)


def dumped(model: Spec | Status) -> dict[str, Any]:
    """As the API server has it: camelCase, no nulls."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def test_the_crd_is_established_and_structural(api_server: ApiServer) -> None:
    found = api_server.json("get", "crd", f"{names.PLURAL}.{names.GROUP}")
    conditions = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}
    assert conditions["Established"] == conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


def test_the_server_gives_the_defaults_that_the_models_give(create: Create) -> None:
    made = create()
    assert made["spec"] == dumped(Spec.model_validate(service()["spec"]))
    assert "status" not in made


@pytest.mark.parametrize(
    "changes",
    [
        {"slo": {"ttft": {"percentile": 99}}},
        {"autoscaling": {"behavior": {"scaleUp": {}}, "ratio": {"min": "1:4"}}},
        {"hardware": {"inlineProfile": {"ttft": {"a": 0.5}, "itl": {"a": 1, "b": 0.25}, "kvTokens": 1000}}},
        {"engine": {"env": [{"name": "A"}]}, "model": {"source": {"huggingFace": {}}}},
    ],
)
def test_what_is_given_in_part_is_filled_like_the_models_fill_it(create: Create, changes: Tree) -> None:
    assert create(changes)["spec"] == dumped(Spec.model_validate(service(changes)["spec"]))


def test_null_means_absent(create: Create) -> None:
    changes = {"autoscaling": {"gpuBudget": None, "interval": None}}
    assert create(changes)["spec"] == dumped(Spec.model_validate(service()["spec"]))


def test_a_pod_template_is_kept_as_it_is_written(create: Create) -> None:
    template = {"metadata": {"labels": {"team": "a"}}, "spec": {"someday": [{"deep": 1}]}}
    assert create({"engine": {"template": template}})["spec"]["engine"]["template"] == template


def test_unknown_fields_are_pruned_where_validation_is_not_strict(api_server: ApiServer) -> None:
    body = service({"modle": {}})
    made = api_server.json("create", "--dry-run=server", "--validate=ignore", "-f", "-", stdin=body)
    assert "modle" not in made["spec"]


def test_status_is_written_through_its_subresource_only(api_server: ApiServer, create: Create) -> None:
    made = create()
    after = _set_status(api_server, FULL_STATUS)
    assert after["status"] == dumped(FULL_STATUS)
    assert after["metadata"]["generation"] == made["metadata"]["generation"]
    patch = '{"status":{"mode":"Other"},"spec":{"pool":"Shared"}}'
    main = api_server.json("patch", names.SHORT, "service", "--type=merge", "-p", patch)
    assert (main["status"]["mode"], main["spec"]["pool"]) == ("Disaggregated", "Shared")
    patch = '{"status":{"mode":"Other"},"spec":{"pool":"Dedicated"}}'
    status = api_server.json(
        "patch", names.SHORT, "service", "--type=merge", "-p", patch, "--subresource=status"
    )
    assert (status["status"]["mode"], status["spec"]["pool"]) == ("Other", "Shared")


def test_the_server_makes_up_nothing_in_the_status(api_server: ApiServer, create: Create) -> None:
    create()
    patch = '{"status":{"mode":"Disaggregated"}}'
    after = api_server.json(
        "patch", names.SHORT, "service", "--type=merge", "-p", patch, "--subresource=status"
    )
    assert after["status"] == {"mode": "Disaggregated"}


def test_an_external_service_is_scaled_through_the_scale_subresource(
    api_server: ApiServer, create: Create
) -> None:
    create({"replicas": 2, "autoscaling": {"strategy": "External"}})
    _set_status(api_server, FULL_STATUS)
    api_server.kubectl("scale", names.SHORT, "service", "--replicas=6")
    scale = api_server.json("get", names.SHORT, "service", "--subresource=scale")
    assert scale["kind"] == "Scale"
    assert scale["spec"] == {"replicas": 6}
    assert scale["status"] == {"replicas": 4, "selector": FULL_STATUS.selector}
    assert api_server.json("get", names.SHORT, "service")["spec"]["replicas"] == 6


def test_scaling_an_external_service_out_of_its_bounds_is_refused(
    api_server: ApiServer, create: Create
) -> None:
    create({"replicas": 2, "autoscaling": {"strategy": "External"}})
    result = api_server.try_kubectl("scale", names.SHORT, "service", "--replicas=9")
    assert result.returncode != 0
    assert "spec.replicas must lie between the sums of minReplicas and of maxReplicas" in result.stderr


@pytest.mark.parametrize("strategy", ["DOPD", "Static"])
def test_scaling_a_service_that_sizes_itself_is_refused_with_the_way_out(
    api_server: ApiServer, create: Create, strategy: str
) -> None:
    create({"autoscaling": {"strategy": strategy}})
    result = api_server.try_kubectl("scale", names.SHORT, "service", "--replicas=4")
    assert result.returncode != 0
    assert "this one sizes itself: set autoscaling.strategy to External" in result.stderr


def test_get_shows_the_service_at_a_glance(api_server: ApiServer, create: Create) -> None:
    create()
    _set_status(api_server, FULL_STATUS)
    header, row = api_server.kubectl("get", names.SHORT).splitlines()
    assert header.split() == ["NAME", "MODE", "PREFILL", "DECODE", "RATIO", "BOTTLENECK", "READY", "AGE"]
    assert row.split()[:-1] == ["service", "Disaggregated", "1/3", "2/2", "3P:2D", "Prefill", "True"]


def test_wide_adds_the_forecast_and_the_last_reason(api_server: ApiServer, create: Create) -> None:
    create()
    _set_status(api_server, FULL_STATUS)
    header, row = api_server.kubectl("get", names.SHORT, "-o", "wide").splitlines()
    assert header.split()[6:] == ["READY", "FORECAST", "REASON", "AGE"]
    assert row.split()[6:9] == ["True", "42.5", "Forecast"]


def test_fields_can_be_looked_up_with_kubectl_explain(api_server: ApiServer) -> None:
    assert "Share of requests" in api_server.kubectl("explain", f"{names.SHORT}.spec.slo.ttft.percentile")
