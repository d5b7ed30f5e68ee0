"""pdctl explain: why a service has its size."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Group
from rich.table import Table

from pdoperator.api.status import DecisionStatus, DemandStatus, ForecastStatus, SignalStatus, Size
from pdoperator.cli.output import emit, output_option
from pdoperator.cli.services import Service, get_service, namespace_option, on_cluster


@click.command()
@click.argument("name")
@click.option(
    "--decision",
    "number",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Which decision; 1 is the newest, 2 the one before it.",
)
@namespace_option
@output_option
def explain(name: str, number: int, namespace: str | None, output: str) -> None:
    """Why NAME has its size: what was seen, forecast, weighed and rejected, and what would be without the forecast."""
    service = on_cluster(lambda kube: get_service(kube, name, namespace))
    decisions = service.status.decisions
    if not decisions:
        raise click.ClickException(f"{name} has no decision yet; see `pdctl doctor {name}`")
    if number > len(decisions):
        raise click.BadParameter(f"{name} has {len(decisions)} decisions", param_hint="--decision")
    decision = decisions[number - 1]
    # Signals are told as of now: they belong to the newest decision only.
    signals = service.status.signals if number == 1 else []
    emit(
        _plain(service, number, decision, signals), output, lambda: _told(service, number, decision, signals)
    )


def _plain(
    service: Service, number: int, decision: DecisionStatus, signals: list[SignalStatus]
) -> dict[str, Any]:
    return {
        "service": service.name,
        "namespace": service.namespace,
        "number": number,
        "decision": decision.model_dump(mode="json"),
        "signals": [signal.model_dump(mode="json") for signal in signals],
    }


def _told(service: Service, number: int, decision: DecisionStatus, signals: list[SignalStatus]) -> Group:
    facts = Table(box=None, show_header=False, title_justify="left")
    facts.title = (
        f"{service.namespace}/{service.name}, decision {number} of {len(service.status.decisions)},"
        f" {decision.time}"
    )
    for what, text in _facts(decision):
        facts.add_row(what, text)
    parts: list[Table] = [facts]
    if decision.candidates:
        parts.append(_candidates(decision))
    if signals:
        parts.append(_signals(signals))
    return Group(*parts)


def _facts(decision: DecisionStatus) -> list[tuple[str, str]]:
    rows = [
        ("size", f"{decision.prefill}P:{decision.decode}D"),
        ("reason", f"{decision.reason}: {decision.message}"),
        ("seen", demand_text(decision.demand)),
        ("forecast", _forecast(decision.forecast)),
        ("without it", size_text(decision.without_forecast)),
        ("asked for", size_text(decision.wanted)),
        ("bound", decision.limited),
        ("bottleneck", "\n".join([decision.bottleneck, *decision.evidence])),
    ]
    return [(what, text) for what, text in rows if text]


def demand_text(demand: DemandStatus | None) -> str:
    """Demand in a line; empty where it is not known."""
    if demand is None:
        return ""
    text = f"{demand.requests_per_second:g} req/s, ISL {demand.input_tokens:g}, OSL {demand.output_tokens:g}"
    return text + (f", {demand.prefix_hit:.0%} of the input cached" if demand.prefix_hit else "")


def size_text(size: Size | None) -> str:
    """`3P:5D`; empty for none."""
    return "" if size is None else f"{size.prefill}P:{size.decode}D"


def _forecast(ahead: ForecastStatus | None) -> str:
    if ahead is None:
        return ""
    skill = "" if ahead.skill is None else f", skill {ahead.skill:g}"
    note = f" ({ahead.note})" if ahead.note else ""
    return f"{demand_text(ahead.demand)} in {ahead.horizon_seconds:g} s by {ahead.model}{skill}{note}"


def _candidates(decision: DecisionStatus) -> Table:
    table = Table("candidate", "outcome", box=None)
    for candidate in decision.candidates:
        table.add_row(size_text(candidate), candidate.rejected or "chosen")
    return table


def _signals(signals: list[SignalStatus]) -> Table:
    table = Table("signal", "state", "age s", "used as", "reading", box=None)
    for signal in signals:
        age = "" if signal.age_seconds is None else f"{signal.age_seconds:g}"
        table.add_row(signal.name, signal.state, age, signal.used_as, signal.message)
    return table
