"""What is remembered between decisions of the modes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from pdoperator.api.values import PerRole


@dataclass(frozen=True, slots=True)
class Needs:
    """Engines, not rounded, that a demand takes in either mode; `aggregated` infinite: no number meets the targets."""

    aggregated: float
    disaggregated: PerRole[float]

    @property
    def both(self) -> float:
        """Disaggregated engines of both roles."""
        return self.disaggregated.prefill + self.disaggregated.decode

    @property
    def exchange(self) -> float:
        """Aggregated engines for a disaggregated one; 1 where no number of them would do."""
        return self.aggregated / self.both if math.isfinite(self.aggregated) else 1.0

    @property
    def prefill_per_decode(self) -> float:
        """The ratio of the disaggregated ones."""
        return self.disaggregated.prefill / self.disaggregated.decode


@dataclass(frozen=True, slots=True)
class ModeMemory:
    """`needs` of the newest demand that was forecast; `leaning_s`: since when the other mode is clearly the better."""

    needs: Needs | None = None
    leaning_s: float | None = None

    def to_text(self) -> str:
        """As JSON."""
        found = self.needs
        parts = None if found is None else [found.aggregated, *(x for _, x in found.disaggregated.items())]
        return json.dumps({"needs": parts, "leaning_s": self.leaning_s})

    @classmethod
    def from_text(cls, text: str) -> ModeMemory:
        """What `to_text` wrote; nothing from anything else, which another version may have written."""
        try:
            body = json.loads(text)
            leaning_s, parts = body["leaning_s"], body["needs"]
            found = (
                None if parts is None else Needs(float(parts[0]), PerRole(float(parts[1]), float(parts[2])))
            )
            return cls(found, None if leaning_s is None else float(leaning_s))
        except (ValueError, TypeError, KeyError, IndexError):
            return cls()


NO_MEMORY = ModeMemory()
