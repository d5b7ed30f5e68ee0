"""The router process: `pd-router`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys

import click
import prometheus_client
import uvloop
from aiohttp import web
from kubernetes.aio.client import ApiClient
from kubernetes.aio.config import ConfigException

from pdoperator.api import defaults, names
from pdoperator.cluster.login import api_client
from pdoperator.router.app import Router
from pdoperator.router.fleet import Fleet
from pdoperator.router.membership import Membership
from pdoperator.router.upstream import engine_session

log = logging.getLogger("pdoperator.router")

RESTART_S = 1.0


@click.command()
@click.option("--namespace", required=True, help="Namespace of the service.")
@click.option("--service", required=True, help="Name of the PDInferenceService.")
@click.option("--config-map", help="Name of the ConfigMap with the configuration.  [default: SERVICE-router]")
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")
@click.option("--port", default=names.ROUTER_PORT, show_default=True, help="Port to listen on.")
def main(namespace: str, service: str, config_map: str | None, host: str, port: int) -> None:
    """Route OpenAI requests to the prefill and decode engines of one PDInferenceService."""
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    uvloop.run(_run(namespace, service, config_map or names.router_name(service), host, port))


async def _run(namespace: str, service: str, config_map: str, host: str, port: int) -> None:
    try:
        client = await api_client()
    except ConfigException as error:
        sys.exit(f"pd-router: no cluster to follow: {error}")
    quiet_gc()
    fleet = Fleet()
    async with client, engine_session() as session:
        router = Router(fleet, session)
        following = asyncio.create_task(_follow(Membership(fleet, namespace, service, config_map), client))
        try:
            await serve(router, host, port)
        finally:
            following.cancel()
            await asyncio.wait([following])


async def _follow(membership: Membership, client: ApiClient) -> None:
    """Follow for ever. A fault of ours in there must not end the data plane, which serves from what is known."""
    while True:
        try:
            await membership.run(client)
        except Exception:
            log.exception("following the API server failed; starting over")
            await asyncio.sleep(RESTART_S)


def quiet_gc() -> None:
    """Collect garbage less often: requests leave next to no cycles, and each pass is felt as latency (p99)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)


async def serve(
    router: Router,
    host: str,
    port: int,
    linger_s: float = defaults.ROUTER_LINGER_S,
    drain_s: float = defaults.ROUTER_DRAIN_S,
) -> None:
    """Serve until SIGTERM or SIGINT; then be unready, for `linger_s` take what still comes, for at most `drain_s`
    finish what is in flight, and return."""
    runner = web.AppRunner(router.app(), handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        site = web.TCPSite(runner, host, port, backlog=1024)
        await site.start()
        log.info("listening on %s:%d", host, port)
        await stop.wait()
        router.draining = True
        log.info("shutting down, %d requests in flight", router.in_flight)
        await asyncio.sleep(linger_s)
        await site.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(router.idle.wait(), drain_s)
    finally:
        await runner.cleanup()
    log.info("stopped, %d requests cut off", router.in_flight)
