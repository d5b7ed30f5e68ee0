"""What the service looked like while the traffic ran, second by second."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from typing import Any

from demo.compare import kv_tokens
from demo.kubectl import Kubectl, KubectlError
from demo.reach import Reach
from demo.traffic import Traffic

PERIOD_S = 2.0
WINDOW_S = 10.0


@dataclass(frozen=True)
class Point:
    """One moment: ready engines by role, and the load of the last seconds as the client sent and received it."""

    t_s: float
    prefill: int
    decode: int
    desired_prefill: int
    desired_decode: int
    rps: float
    input_tokens_per_s: float
    output_tokens_per_s: float


@dataclass
class Timeline:
    """Points, and the tokens that each engine took over by KV transfer (the highest count seen of each)."""

    kubectl: Kubectl
    reach: Reach
    service: str
    traffic: Traffic
    points: list[Point] = field(default_factory=list)
    transferred: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.sample()
            await asyncio.sleep(PERIOD_S)

    async def sample(self) -> None:
        """One more point; a moment in which the API server does not answer is left out."""
        try:
            status = (await asyncio.to_thread(self.kubectl.service, self.service)).get("status", {})
            engines = await asyncio.to_thread(self.reach.engines, self.service)
        except KubectlError:
            return
        for name, count in zip(engines, await kv_tokens(list(engines.values())), strict=True):
            if count is not None:
                self.transferred[name] = max(self.transferred.get(name, 0.0), count)
        self.points.append(self._point(status))

    def _point(self, status: dict[str, Any]) -> Point:
        now = self.traffic.now_s()
        recent = [answer for answer in self.traffic.answers if answer.sent_s > now - WINDOW_S]
        finished = [
            answer for answer in self.traffic.answers if answer.last_s and answer.last_s > now - WINDOW_S
        ]
        span = min(WINDOW_S, max(now, 1.0))
        prefill, decode = status.get("prefill", {}), status.get("decode", {})
        return Point(
            t_s=round(now, 1),
            prefill=prefill.get("ready", 0),
            decode=decode.get("ready", 0),
            desired_prefill=prefill.get("desired", 0),
            desired_decode=decode.get("desired", 0),
            rps=round(len(recent) / span, 2),
            input_tokens_per_s=round(sum(answer.input_tokens for answer in recent) / span, 1),
            output_tokens_per_s=round(sum(answer.output_tokens for answer in finished) / span, 1),
        )

    def as_json(self) -> list[dict[str, Any]]:
        """Points as plain data."""
        return [asdict(point) for point in self.points]
