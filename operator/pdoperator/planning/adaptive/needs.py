"""Engines that a demand needs: loads by role, what an engine holds, and headroom for those that would have to wait."""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.api.values import PerRole
from pdoperator.capacity.profile import Profile
from pdoperator.forecast.demand import Demand
from pdoperator.planning.adaptive.loads import (
    Targets,
    Work,
    decode_batch,
    decode_busy,
    decode_engines,
    prefill_busy,
    prefill_engines,
    work_of,
)
from pdoperator.planning.settings import PlanSettings


@dataclass(frozen=True, slots=True)
class Sizer:
    """What requests of one shape need. `per_request`: engines kept busy by one request per second, by role."""

    shape: Demand
    profile: Profile
    targets: Targets
    work: Work
    batch: float  # sequences that a decode engine holds within its targets
    per_request: PerRole[float]

    @classmethod
    def of(cls, shape: Demand, settings: PlanSettings) -> Sizer:
        """For requests of this shape under the targets of a service."""
        profile, work = settings.profile, work_of(shape, settings.profile)
        batch = decode_batch(shape, profile, work, settings.tpot_target_s)
        misses = 1 - min(settings.ttft_percentile, settings.tpot_percentile) / 100
        return cls(
            shape=shape,
            profile=profile,
            targets=Targets(settings.ttft_target_s, misses),
            work=work,
            batch=batch,
            per_request=PerRole(
                prefill_busy(work, profile),
                decode_busy(shape, profile, work, batch),
            ),
        )

    def busy(self, rate_rps: float) -> PerRole[float]:
        """Engines that requests at this rate keep busy."""
        return PerRole.of(lambda role: rate_rps * self.per_request[role])

    def engines(self, busy: PerRole[float]) -> PerRole[float]:
        """Engines, not rounded, that serve what keeps so many busy: with room for waits and for what piles up."""
        return PerRole(
            prefill_engines(busy.prefill, self.shape, self.profile, self.work, self.targets),
            decode_engines(
                busy.decode,
                self.shape,
                self.batch,
                self.targets.misses,
                by_memory=self.batch < self.profile.max_batch,
            ),
        )
