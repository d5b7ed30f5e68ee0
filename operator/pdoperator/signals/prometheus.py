"""A Prometheus that scrapes routers and engines, as the source of their readings and of the demand before our time."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from pdoperator.api import defaults
from pdoperator.api.names import router_name
from pdoperator.api.sources import Prometheus
from pdoperator.api.values import Missing, Value
from pdoperator.forecast.demand import Demand, Sample
from pdoperator.signals.engine_metrics import ENGINE_SERIES, engine_reading
from pdoperator.signals.exposition import Series, canonical
from pdoperator.signals.pods import PodView
from pdoperator.signals.readings import Readings
from pdoperator.signals.router_metrics import ROUTER_SERIES, router_reading

R = TypeVar("R")
T = TypeVar("T")

_FAILURES = (requests.RequestException, PrometheusApiClientException, ValueError, KeyError, TypeError)


class PrometheusError(Exception):
    """A query that failed. The message names it."""


@dataclass(frozen=True, slots=True)
class _Pod:
    """The newest sample of each series of a pod, and how old the oldest of these is."""

    series: dict[str, list[Series]]
    age_s: float


class FromPrometheus:
    """Reads the series of one service's pods. The client is synchronous: it runs in a thread, within limits of time."""

    def __init__(self, settings: Prometheus, namespace: str, service: str) -> None:
        self.settings = settings
        here = f'{settings.namespace_label}="{namespace}"'
        # Of what this finds only live pods of the service are taken; it finds those of `service-two` too.
        self._where = f'{here},{settings.pod_label}=~"{service}-.+"'
        # Whose pods that are gone were, nothing but their names tells.
        self._routers = f'{here},{settings.pod_label}=~"{router_name(service)}-[^-]+(-[^-]+)?"'
        session = requests.Session()
        session.max_redirects = 0  # it is asked what the spec names, nothing else
        session.trust_env = False
        limit_s = math.ceil(defaults.PROMETHEUS_TIMEOUT_S)
        self._client = PrometheusConnect(settings.url, retry=Retry(0), session=session, timeout=limit_s)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prometheus")

    async def read(self, routers: Sequence[PodView], engines: Sequence[PodView]) -> Readings:
        """The newest samples of these pods; series of pods that are gone do not count."""
        return Readings(
            await self._pods(ROUTER_SERIES, routers, router_reading),
            await self._pods(ENGINE_SERIES, engines, engine_reading) if engines else {},
        )

    async def preflight(self, routers: Sequence[PodView], engines: Sequence[PodView]) -> list[str]:
        """What is wrong with the source, each with the query that shows it; [] if all is there.

        Pods that are ready must have every series that tells of their kind, under their own name.
        """
        wanted = [("pdrouter_requests_admitted_total", routers), ("vllm:num_requests_running", engines)]
        problems = []
        for name, pods in wanted:
            query = _newest({name}, self._where)
            try:
                found = {self._pod_of(row) for row in await self._ask(self._client.custom_query, query)}
            except PrometheusError as failure:
                return [str(failure)]
            if lost := sorted({pod.name for pod in pods if pod.ready} - found):
                problems.append(f"{query} has no sample of {', '.join(lost)}")
        return problems

    async def demand(self, start_s: float, end_s: float, step_s: float) -> list[Sample]:
        """Demand before our time, a sample a step, as far as Prometheus has it. Raises PrometheusError."""
        over = f"[{max(step_s, 2 * defaults.METRICS_MAX_AGE_S):.0f}s]"

        async def rates(name: str) -> dict[float, float]:
            query = f"sum(rate({name}{{{self._routers}}}{over}))"
            at = (datetime.fromtimestamp(start_s, UTC), datetime.fromtimestamp(end_s, UTC))
            rows = await self._ask(self._client.custom_query_range, query, *at, f"{step_s:.0f}")
            return {float(at_s): float(value) for row in rows for at_s, value in row["values"]}

        admitted = await rates("pdrouter_requests_admitted_total")
        inputs, input_tokens = await _both(rates, "pdrouter_request_input_tokens")
        outputs, output_tokens = await _both(rates, "pdrouter_request_output_tokens")
        products, token_products = await _both(rates, "pdrouter_request_token_product")
        samples, isl, osl = [], math.nan, math.nan
        for at_s, rate in sorted(admitted.items()):
            isl = _mean(input_tokens.get(at_s), inputs.get(at_s), isl)
            osl = _mean(output_tokens.get(at_s), outputs.get(at_s), osl)
            if math.isfinite(rate + isl + osl):
                product = _mean(token_products.get(at_s), products.get(at_s), math.nan)
                common = product / (isl * osl) - 1 if product > 0 else defaults.LENGTHS_COVARIANCE
                samples.append(Sample(at_s, Demand(rate, isl, osl, covariance=common)))
        return samples

    async def _pods(
        self,
        names: frozenset[str],
        pods: Sequence[PodView],
        read: Callable[[Mapping[str, list[Series]]], R],
    ) -> dict[str, Value[R] | Missing]:
        query = _newest(names, self._where)
        try:
            found = _by_pod(await self._ask(self._client.custom_query, query), self._pod_of, time.time())
        except PrometheusError as failure:
            return {pod.name: Missing(str(failure)) for pod in pods}
        return {pod.name: self._reading(pod.name, found.get(pod.name), read) for pod in pods}

    def _reading(
        self, name: str, pod: _Pod | None, read: Callable[[Mapping[str, list[Series]]], R]
    ) -> Value[R] | Missing:
        if pod is None:
            return Missing(
                f"{self.settings.url} has no sample of {name} of the last {defaults.METRICS_MAX_AGE_S:.0f} s"
            )
        try:
            return Value(read(pod.series), pod.age_s)
        except ValueError as failure:
            return Missing(str(failure))

    def _pod_of(self, row: Mapping[str, Any]) -> str:
        return str(row["metric"].get(self.settings.pod_label, ""))

    async def _ask(self, ask: Callable[..., list[Any]], query: str, *more: object) -> list[Any]:
        """One query. Should a thread hang all the same, the next query waits for it, but the loop does not."""
        loop = asyncio.get_running_loop()
        limit_s = defaults.PROMETHEUS_TIMEOUT_S + 1
        try:
            async with asyncio.timeout(limit_s):
                return await loop.run_in_executor(self._thread, ask, query, *more)
        except TimeoutError:
            raise PrometheusError(
                f"{query}: {self.settings.url} did not answer within {limit_s:g} s"
            ) from None
        except _FAILURES as failure:
            raise PrometheusError(f"{query}: {_short(failure)}") from failure


def _newest(names: Sequence[str] | frozenset[str] | set[str], where: str) -> str:
    """All samples of the last minute, with the times at which they were scraped. Both spellings of vLLM's names."""
    either = "|".join(sorted(name.replace("vllm:", "vllm[:_]") for name in names))
    return f'{{__name__=~"{either}",{where}}}[{defaults.METRICS_MAX_AGE_S:.0f}s]'


def _by_pod(
    rows: Sequence[Mapping[str, Any]], pod_of: Callable[[Mapping[str, Any]], str], now_s: float
) -> dict[str, _Pod]:
    found: dict[str, dict[str, list[Series]]] = {}
    newest: dict[str, float] = {}
    for row in rows:
        at_s, value = row["values"][-1]
        name, pod = canonical(row["metric"]["__name__"]), pod_of(row)
        found.setdefault(pod, {}).setdefault(name, []).append(Series(row["metric"], float(value)))
        newest[pod] = max(newest.get(pod, 0.0), float(at_s))
    return {pod: _Pod(series, max(0.0, now_s - newest[pod])) for pod, series in found.items()}


async def _both(rates: Callable[[str], Any], histogram: str) -> tuple[dict[float, float], dict[float, float]]:
    """Rates of a histogram's count and sum."""
    return await rates(f"{histogram}_count"), await rates(f"{histogram}_sum")


def _mean(total: float | None, count: float | None, otherwise: float) -> float:
    return total / count if total is not None and count else otherwise


def _short(failure: BaseException) -> str:
    """One line, without what a server may have answered at length."""
    return " ".join(str(failure).split())[:200] or type(failure).__name__
