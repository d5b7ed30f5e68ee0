"""pdctl top: what a service is doing now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table

from pdoperator.api import names
from pdoperator.cli.explain import demand_text
from pdoperator.cli.output import emit, output_option
from pdoperator.cli.services import Service, engine_label, get_service, namespace_option, on_cluster

if TYPE_CHECKING:
    from pdoperator.cluster.kube import Kube

PERIOD_S = 2.0
_SHOWN = ("ttft", "tpot", "queues", "kvUse")


@dataclass(frozen=True, slots=True)
class _Engine:
    """One engine pod."""

    pod: str
    role: str
    state: str
    ready: bool
    revision: str
    node: str


@click.command()
@click.argument("name")
@click.option("-w", "--watch", is_flag=True, help="Go on until interrupted.")
@namespace_option
@output_option
def top(name: str, watch: bool, namespace: str | None, output: str) -> None:
    """Load, bottleneck and engines of NAME."""
    if watch and output != "table":
        raise click.UsageError("--watch draws a table; leave out -o")
    service, engines = on_cluster(lambda kube: _look(kube, name, namespace))
    if not watch:
        emit(_plain(service, engines), output, lambda: _drawn(service, engines))
        return
    with Live(_drawn(service, engines), auto_refresh=False) as live:
        while True:
            time.sleep(PERIOD_S)
            live.update(_drawn(*on_cluster(lambda kube: _look(kube, name, namespace))), refresh=True)


async def _look(kube: Kube, name: str, namespace: str | None) -> tuple[Service, list[_Engine]]:
    from pdoperator.cluster.kube import PODS
    from pdoperator.controller.pods import is_ready

    service = await get_service(kube, name, namespace)
    pods = await kube.list(PODS, service.namespace, engine_label(name))
    engines = [
        _Engine(
            pod=pod["metadata"]["name"],
            role=pod["metadata"]["labels"].get(names.LABEL_ROLE, ""),
            state=pod["metadata"]["labels"].get(names.LABEL_STATE, ""),
            ready=is_ready(pod),
            revision=pod["metadata"]["labels"].get(names.LABEL_REVISION, ""),
            node=pod.get("spec", {}).get("nodeName", ""),
        )
        for pod in pods
    ]
    return service, sorted(engines, key=lambda engine: (engine.role != "prefill", engine.role, engine.pod))


def _plain(service: Service, engines: list[_Engine]) -> dict[str, Any]:
    status = service.status
    return {
        "service": service.name,
        "namespace": service.namespace,
        "mode": status.mode,
        "ratio": status.ratio,
        "prefill": status.prefill.model_dump(mode="json"),
        "decode": status.decode.model_dump(mode="json"),
        "demand": status.demand.model_dump(mode="json") if status.demand else None,
        "bottleneck": status.bottleneck,
        "bottleneck_evidence": status.bottleneck_evidence,
        "engines": engines,
    }


def _drawn(service: Service, engines: list[_Engine]) -> RenderableType:
    status = service.status
    head = Table(box=None, show_header=False)
    rows = [
        ("service", f"{service.namespace}/{service.name} {status.mode}"),
        ("prefill", f"{status.prefill_summary} ready, {status.prefill.draining} draining"),
        ("decode", f"{status.decode_summary} ready, {status.decode.draining} draining"),
        ("demand", demand_text(status.demand) or "no request, or not known"),
        ("bottleneck", "\n".join([status.bottleneck, *status.bottleneck_evidence])),
        *((signal.name, signal.message) for signal in status.signals if signal.name in _SHOWN),
    ]
    for row in rows:
        head.add_row(*row)
    table = Table("engine", "role", "state", "ready", "revision", "node", box=None)
    for engine in engines:
        table.add_row(
            engine.pod,
            engine.role,
            engine.state,
            "yes" if engine.ready else "no",
            engine.revision,
            engine.node,
        )
    return Group(head, table)
