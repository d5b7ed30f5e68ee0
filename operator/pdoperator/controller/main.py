"""`pd-operator`: wait for the Lease, then follow services until told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import click
import kopf
from kubernetes.aio.client import ApiClient

from pdoperator.cluster import lease
from pdoperator.cluster.kube import Kube
from pdoperator.cluster.login import api_client
from pdoperator.cluster.store import Store
from pdoperator.controller import handlers, health
from pdoperator.controller.metrics import Metrics
from pdoperator.controller.operator import Operator
from pdoperator.controller.service import Context
from pdoperator.forecast import auto_arima

log = logging.getLogger(__name__)

LEASE_NAME = "pd-operator"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line and the environment say."""

    host: str
    port: int
    namespace: str
    identity: str
    watched: Sequence[str]
    router_image: str


@click.group()
def main() -> None:
    """Operator for PDInferenceServices."""


@main.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address of /healthz, /readyz and /metrics."
)
@click.option("--port", default=8080, show_default=True, help="Port of the same.")
@click.option("--namespace", "watched", multiple=True, help="Watch this namespace only; may be repeated.")
@click.option("--lease-namespace", envvar="POD_NAMESPACE", default="default", show_default=True)
@click.option("--identity", envvar="POD_NAME", default=socket.gethostname, help="Holder of the Lease.")
@click.option(
    "--router-image", envvar="PD_OPERATOR_IMAGE", required=True, help="Image of routers that name none."
)
@click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning", "error"]))
@click.option("--log-format", default="text", type=click.Choice(["text", "json"]))
def run(
    host: str,
    port: int,
    watched: tuple[str, ...],
    lease_namespace: str,
    identity: str,
    router_image: str,
    log_level: str,
    log_format: str,
) -> None:
    """Run the operator. Exit code 1 when the Lease is lost, so that the pod starts anew and stands in line again."""
    kopf.configure(
        verbose=log_level == "debug",
        quiet=log_level in ("warning", "error"),
        log_format=kopf.LogFormat.JSON if log_format == "json" else kopf.LogFormat.FULL,
    )
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # a line per event of every object
    options = Options(host, port, lease_namespace, f"{identity}_{os.getpid()}", watched, router_image)
    sys.exit(asyncio.run(_run(options)))


async def _run(options: Options) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    api = await api_client()
    try:
        async with health.serving(options.host, options.port, metrics, lambda: True):
            return await _lead(options, api, metrics, stop)
    finally:
        await api.close()  # type: ignore[no-untyped-call]


async def _lead(options: Options, api: ApiClient, metrics: Metrics, stop: asyncio.Event) -> int:
    """Stand in line for the Lease and work while it is held; 0 when told to stop, 1 when the Lease was lost."""

    async def work() -> None:
        log.info("leading as %s", options.identity)
        metrics.leader.set(1)
        await _operate(options, api, metrics)
        stop.set()  # kopf takes the signals while it runs: it ends without an error only when told to

    leading = asyncio.create_task(
        lease.lead(Kube(api), options.namespace, LEASE_NAME, options.identity, work)
    )
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({leading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            leading.result()
            log.error("the Lease was lost; another operator may lead now")
            return 1
        await asyncio.wait({leading}, timeout=10)
        return 0
    finally:
        leading.cancel()
        stopping.cancel()
        await asyncio.gather(leading, stopping, return_exceptions=True)
        await lease.release(Kube(api), options.namespace, LEASE_NAME, options.identity)


async def _operate(options: Options, api: ApiClient, metrics: Metrics) -> None:
    operator = Operator()
    session = aiohttp.ClientSession()
    context = Context(Kube(api), Store(operator.child_changed), metrics, session, options.router_image)
    broken = asyncio.Event()
    operator.start(api, context, options.watched, broken.set)
    # The library takes seconds to import; until then it is nobody's turn.
    preloading = asyncio.create_task(asyncio.to_thread(auto_arima.preload))
    try:
        await kopf.operator(
            registry=handlers.registry(operator),
            settings=handlers.settings(clusterwide=not options.watched),
            standalone=True,
            clusterwide=not options.watched,
            namespaces=list(options.watched),
            stop_flag=broken,
        )
        operator.check()
    finally:
        await asyncio.gather(preloading, return_exceptions=True)
        await operator.stop()
        await session.close()
