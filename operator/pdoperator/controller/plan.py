"""A spec that can be put into effect, or why it cannot be."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from pdoperator.api.autoscaling import Strategy
from pdoperator.api.names import Pool
from pdoperator.api.reasons import Reason
from pdoperator.api.spec import Spec
from pdoperator.capacity.builtin import PRESET_PROFILE
from pdoperator.cluster.kube import Object
from pdoperator.controller.situation import Obstacle
from pdoperator.planning.settings import PlanSettings, plan_settings
from pdoperator.workload.pairing import pairing_problem, pools
from pdoperator.workload.render import Owner

_WITHOUT_PROFILE = (Strategy.REACTIVE, Strategy.STATIC)


@dataclass(frozen=True, slots=True)
class Plan:
    """A spec, and what follows from it."""

    generation: int
    owner: Owner
    spec: Spec
    settings: PlanSettings
    pools: tuple[Pool, ...]

    @property
    def decides(self) -> str:
        """Who decides, how often, and by whose capacity where the spec does not give the model's own."""
        settings, preset = self.settings, self.spec.hardware.preset
        text = f"{settings.strategy.value} decides every {settings.interval_s:g} s"
        if settings.profile_named or settings.strategy in _WITHOUT_PROFILE:
            return text
        name = PRESET_PROFILE[preset]
        return (
            f"{text} by {name}, the profile of preset {preset.value}: give hardware.profile or inlineProfile"
        )


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
