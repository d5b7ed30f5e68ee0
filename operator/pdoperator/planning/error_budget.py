"""The error budget of a service level objective: how much of it is burnt, and how sure the plan has to be for the rest.

A target at percentile p allows a share of 1 - p of the requests to miss. The burn rate is what has missed of late over
what may (Google's Site Reliability Workbook, chapter 5): 1 spends exactly the budget.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

from pdoperator.api import defaults
from pdoperator.api.values import Missing, Value
from pdoperator.planning.observation import SloCounts


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """Requests of late that ended, and those of them that missed a target; what is older weighs less and less."""

    ended: float = 0.0
    missed: float = 0.0

    def after(self, counts: Value[SloCounts] | Missing, interval_s: float) -> ErrorBudget:
        """With one more interval; one that could not be read changes nothing."""
        if isinstance(counts, Missing):
            return self
        kept = math.exp(-interval_s / defaults.BURN_WINDOW_S)
        return ErrorBudget(kept * self.ended + counts.x.ended, kept * self.missed + counts.x.missed)

    def burn(self, allowed: float, hopeless: float = 0.0) -> float:
        """The burn rate where a share of `allowed` may miss; 0 as long as too few have ended to tell.

        `hopeless`: the share that misses on any number of engines. It is no reason for more.
        """
        if self.ended < defaults.BURN_MIN_REQUESTS:
            return 0.0
        return max(0.0, self.missed / self.ended - hopeless) / allowed

    def to_text(self) -> str:
        """As JSON."""
        return json.dumps({name: round(count, 1) for name, count in asdict(self).items()})

    @classmethod
    def from_text(cls, text: str) -> ErrorBudget:
        """What `to_text` wrote; nothing from anything else, which another version may have written."""
        try:
            return cls(**{name: float(count) for name, count in json.loads(text).items()})
        except (ValueError, TypeError, AttributeError):
            return cls()


def quantile(least: float, burn: float) -> float:
    """The quantile to plan for: `least` while little of the budget is burnt, more as it goes.

    It rises from half the budget on, so that it acts while something is left, and is highest when all is spent.
    """
    urgency = min(1.0, max(0.0, (burn - defaults.BURN_CALM) / (1 - defaults.BURN_CALM)))
    return least + urgency * max(0.0, defaults.QUANTILE_MAX - least)


NOTHING_BURNT = ErrorBudget()
