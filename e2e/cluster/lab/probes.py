"""Startup, readiness and liveness: thresholds (pure), and the HTTP request behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from cluster.lab.environment import Unsupported


@dataclass(frozen=True)
class Probe:
    url: str
    headers: tuple[tuple[str, str], ...]
    initial_delay_s: float
    period_s: float
    timeout_s: float
    success_threshold: int
    failure_threshold: int

    @staticmethod
    def of(probe: Mapping[str, Any], container: Mapping[str, Any], address: str) -> Probe:
        """From a container's probe. Raises `Unsupported` for other than httpGet."""
        if "httpGet" not in probe:
            raise Unsupported("only httpGet probes are supported in the lab")
        return Probe(
            url=url_of(probe["httpGet"], container, address),
            headers=tuple((one["name"], one["value"]) for one in probe["httpGet"].get("httpHeaders") or []),
            initial_delay_s=probe.get("initialDelaySeconds") or 0,
            period_s=probe.get("periodSeconds") or 10,
            timeout_s=probe.get("timeoutSeconds") or 1,
            success_threshold=probe.get("successThreshold") or 1,
            failure_threshold=probe.get("failureThreshold") or 3,
        )


def url_of(get: Mapping[str, Any], container: Mapping[str, Any], address: str) -> str:
    """The URL of an httpGet action; a port may be given by its name."""
    port = get["port"]
    if isinstance(port, str) and not port.isdigit():
        named = {one.get("name"): one["containerPort"] for one in container.get("ports") or []}
        if port not in named:
            raise Unsupported(f"the container has no port named {port}")
        port = named[port]
    scheme = (get.get("scheme") or "HTTP").lower()
    path = (get.get("path") or "/").lstrip("/")
    return f"{scheme}://{get.get('host') or address}:{port}/{path}"


@dataclass
class Judge:
    """Turns single results into a verdict, which changes only after as many equal results as the probe asks for."""

    probe: Probe
    verdict: bool
    _streak: int = 0
    _last: bool | None = None

    def add(self, success: bool) -> bool:
        """Whether this result settled the verdict (again): `verdict` is then that of the newest results."""
        self._streak = self._streak + 1 if success == self._last else 1
        self._last = success
        needed = self.probe.success_threshold if success else self.probe.failure_threshold
        if self._streak < needed:
            return False
        self.verdict = success
        return True


async def check(session: aiohttp.ClientSession, probe: Probe) -> str | None:
    """None when the probe succeeds (status 200 to 399), else why not."""
    timeout = aiohttp.ClientTimeout(total=probe.timeout_s)
    try:
        async with session.get(
            probe.url, headers=dict(probe.headers), timeout=timeout, allow_redirects=False, ssl=False
        ) as answer:
            return None if 200 <= answer.status < 400 else f"statuscode: {answer.status}"
    except TimeoutError:
        return f"no answer within {probe.timeout_s:g} s"
    except aiohttp.ClientError as reason:
        return str(reason) or type(reason).__name__
