"""A spec that can be put into effect, or why it cannot be."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from pdoperator.api.names import Pool
from pdoperator.api.reasons import Reason
from pdoperator.api.spec import Spec
from pdoperator.cluster.kube import Object
from pdoperator.controller.situation import Obstacle
from pdoperator.planning.settings import PlanSettings, plan_settings
from pdoperator.workload.pairing import pairing_problem, pools
from pdoperator.workload.render import Owner


@dataclass(frozen=True, slots=True)
class Plan:
    """A spec, and what follows from it."""

    generation: int
    owner: Owner
    spec: Spec
    settings: PlanSettings
    pools: tuple[Pool, ...]


def generation_of(body: Object) -> int:
    """The generation of a service's spec."""
    return int(body["metadata"].get("generation", 0))


def read_plan(body: Object) -> Plan | Obstacle:
    """The plan of a service as the API server has it."""
    try:
        spec = Spec.model_validate(body.get("spec", {}))
        settings = plan_settings(spec, shared_pool=pools(spec) == (Pool.SHARED,))
    except (ValidationError, ValueError) as error:
        return Obstacle(Reason.INVALID_SPEC, _in_one_line(error))
    problem = pairing_problem(spec)
    if problem:
        return Obstacle(Reason.CANNOT_PAIR, problem)
    metadata = body["metadata"]
    owner = Owner(metadata["name"], metadata["namespace"], metadata["uid"])
    return Plan(generation_of(body), owner, spec, settings, pools(spec))


def _in_one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"spec.{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)
