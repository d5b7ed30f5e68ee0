"""Direct scrapes of pods, each with a time limit, all at once but bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from pdoperator.api import defaults
from pdoperator.api.values import Missing, Value


def metrics_url(ip: str, port: int) -> str:
    """Where a pod exposes its metrics."""
    return f"http://[{ip}]:{port}/metrics" if ":" in ip else f"http://{ip}:{port}/metrics"


async def scrape_all(
    session: aiohttp.ClientSession, urls: Mapping[str, str]
) -> dict[str, Value[str] | Missing]:
    """The text behind each URL, by the same keys. Never raises for a target: what cannot be read is Missing."""
    free = asyncio.Semaphore(defaults.SCRAPE_CONCURRENCY)

    async def one(url: str) -> Value[str] | Missing:
        async with free:
            return await _scrape(session, url)

    texts = await asyncio.gather(*(one(url) for url in urls.values()))
    return dict(zip(urls, texts, strict=True))


async def _scrape(session: aiohttp.ClientSession, url: str) -> Value[str] | Missing:
    limit = aiohttp.ClientTimeout(total=defaults.SCRAPE_TIMEOUT_S)
    # text/plain by hand: asked for OpenMetrics, prometheus_client renames vllm:x to vllm_x.
    headers = {"Accept": "text/plain;version=0.0.4"}
    try:
        async with session.get(url, timeout=limit, headers=headers, allow_redirects=False) as answer:
            if answer.status != 200:
                return Missing(f"{url} answered {answer.status}")
            return await _body(answer, url)
    except TimeoutError:
        return Missing(f"{url} did not answer within {defaults.SCRAPE_TIMEOUT_S:g} s")
    except (aiohttp.ClientError, OSError) as failure:
        return Missing(f"{url}: {failure}")


async def _body(answer: aiohttp.ClientResponse, url: str) -> Value[str] | Missing:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > defaults.SCRAPE_MAX_BYTES:
            return Missing(f"{url} sent more than {defaults.SCRAPE_MAX_BYTES} bytes")
    return Value(body.decode("utf-8", errors="replace"))
