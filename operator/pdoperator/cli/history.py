"""pdctl history: the newest decisions of a service."""

from __future__ import annotations

import click
from rich.table import Table

from pdoperator.cli.explain import demand_text
from pdoperator.cli.output import emit, output_option
from pdoperator.cli.services import Service, get_service, namespace_option, on_cluster


@click.command()
@click.argument("name")
@namespace_option
@output_option
def history(name: str, namespace: str | None, output: str) -> None:
    """The newest decisions on NAME that differed from the one before, newest first."""
    service = on_cluster(lambda kube: get_service(kube, name, namespace))
    plain = {
        "service": service.name,
        "namespace": service.namespace,
        "decisions": [decision.model_dump(mode="json") for decision in service.status.decisions],
    }
    emit(plain, output, lambda: _table(service))


def _table(service: Service) -> Table:
    table = Table("", "time", "size", "reason", "seen", "why", box=None)
    for number, decision in enumerate(service.status.decisions, start=1):
        table.add_row(
            f"{number}", decision.time, f"{decision.prefill}P:{decision.decode}D", decision.reason,
            demand_text(decision.demand), decision.message,
        )  # fmt: skip
    return table
