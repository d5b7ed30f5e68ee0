"""What the models say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pdoperator.api import names
from pdoperator.api.spec import Spec

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
SERVICES = sorted((*MANIFESTS.glob("samples/*.yaml"), *MANIFESTS.glob("gh200/*.yaml")))


def spec(**fields: Any) -> Spec:
    return Spec.model_validate({"model": {"name": "org/model"}, **fields})


def test_requests_use_the_models_name_unless_it_is_given_another() -> None:
    assert spec().served_name == "org/model"
    assert spec(model={"name": "org/model", "servedName": "m"}).served_name == "m"


@pytest.mark.parametrize(
    ("hardware", "tensor_parallel", "gpus", "cost"),
    [
        ({}, 1, 1, 1),
        ({}, 4, 4, 4),
        ({"gpusPerReplica": 8}, 4, 8, 8),
        ({"gpusPerReplica": 0}, 1, 0, 0),
        ({"preset": "cpu"}, 2, 0, 1),
    ],
)
def test_an_engine_takes_the_gpus_of_its_tensor_parallel_group(
    hardware: dict[str, Any], tensor_parallel: int, gpus: int, cost: int
) -> None:
    found = spec(hardware=hardware, decode={"tensorParallelSize": tensor_parallel})
    assert (found.gpus(found.decode), found.budget_cost(found.decode)) == (gpus, cost)


def test_the_first_size_is_the_smallest_unless_it_is_given() -> None:
    assert spec(prefill={"minReplicas": 2}).prefill.first_replicas == 2
    assert spec(prefill={"minReplicas": 2, "replicas": 3}).prefill.first_replicas == 3


def test_a_target_given_in_part_keeps_its_own_default() -> None:
    slo = spec(slo={"ttft": {"percentile": 99}, "tpot": {"percentile": 50}}).slo
    assert (slo.ttft.target, slo.tpot.target) == ("2s", "80ms")


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="modle"):
        spec(modle={})


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_every_sample_is_a_service(path: Path) -> None:
    found = [body for body in yaml.safe_load_all(path.read_text()) if body["kind"] == names.KIND]
    assert found
    for body in found:
        assert body["apiVersion"] == names.API_VERSION
        Spec.model_validate(body["spec"])
