"""pdctl pause, pdctl resume: what must not change for now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pdoperator.api import names, units
from pdoperator.api.pause import Direction, PausedRole
from pdoperator.cli.output import emit, output_option
from pdoperator.cli.services import get_service, namespace_option, on_cluster

if TYPE_CHECKING:
    from pdoperator.cluster.kube import Kube

_ATTEMPTS = 3  # somebody else may edit the object at the same time

_role = click.option(
    "--role", type=click.Choice([r.value.lower() for r in PausedRole]), help="Both if not given."
)
_direction = click.option(
    "--direction", type=click.Choice([d.value.lower() for d in Direction]), help="Both if not given."
)


class Until(click.ParamType[str]):
    """A duration from now (2h), or an RFC 3339 time; as RFC 3339 in UTC."""

    name = "until"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The time; fails naming what is accepted."""
        now_s = datetime.now(UTC).timestamp()
        try:
            at_s = now_s + units.seconds(value)
        except ValueError:
            try:
                at_s = units.epoch_s(value)
            except ValueError:
                self.fail(
                    f"{value!r} is neither a duration (2h) nor a time (2026-01-31T18:00:00Z)", param, ctx
                )
        if at_s <= now_s:
            self.fail(f"{value!r} is over", param, ctx)
        return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@click.command()
@click.argument("name")
@_role
@_direction
@click.option(
    "--until", type=Until(), help="A duration (2h) or an RFC 3339 time; until it is resumed if not given."
)
@namespace_option
@output_option
def pause(
    name: str, role: str | None, direction: str | None, until: str | None, namespace: str | None, output: str
) -> None:
    """Keep NAME from changing: both roles in both directions, or less."""
    entry = _entry(role, direction) | ({"until": until} if until else {})

    def added(pauses: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each for each in pauses if not _same(each, role, direction)] + [entry]

    found = on_cluster(lambda kube: _edit(kube, name, namespace, added))
    emit(found, output, lambda: f"paused: {_words(entry)}")


@click.command()
@click.argument("name")
@_role
@_direction
@namespace_option
@output_option
def resume(name: str, role: str | None, direction: str | None, namespace: str | None, output: str) -> None:
    """Let NAME change again: all that is paused, or what was paused with the same --role and --direction."""
    every = role is None and direction is None

    def taken(pauses: list[dict[str, Any]]) -> list[dict[str, Any]]:
        left = [] if every else [each for each in pauses if not _same(each, role, direction)]
        if len(left) == len(pauses):
            raise click.ClickException(f"{name} has no such pause")
        return left

    found = on_cluster(lambda kube: _edit(kube, name, namespace, taken))
    emit(found, output, lambda: f"resumed: {'all' if every else _words(_entry(role, direction))}")


async def _edit(kube: Kube, name: str, namespace: str | None, change: Any) -> dict[str, Any]:
    """Read, change the list of pauses, write; again if somebody else was quicker. Returns what is paused now."""
    from pdoperator.cluster.kube import PD_SERVICES, KubeError

    for attempt in range(_ATTEMPTS):
        service = await get_service(kube, name, namespace)
        autoscaling = service.body.get("spec", {}).get("autoscaling", {})
        pauses = change(autoscaling.get("pause", []))
        body = {
            "metadata": {"resourceVersion": service.body["metadata"]["resourceVersion"]},
            "spec": {"autoscaling": {"pause": pauses}},
        }
        try:
            await kube.patch(PD_SERVICES, service.namespace, name, body, manager=names.CLI_FIELD_MANAGER)
        except KubeError as error:
            if error.status != 409 or attempt + 1 == _ATTEMPTS:
                raise
            continue
        return {"service": name, "namespace": service.namespace, "pause": pauses}
    raise AssertionError("each attempt returns or raises")


def _entry(role: str | None, direction: str | None) -> dict[str, Any]:
    given = {"role": role, "direction": direction}
    return {field: word.capitalize() for field, word in given.items() if word}


def _same(pause: dict[str, Any], role: str | None, direction: str | None) -> bool:
    return {key: value for key, value in pause.items() if key != "until"} == _entry(role, direction)


def _words(entry: dict[str, Any]) -> str:
    who = entry.get("role", "both roles").lower()
    way = entry.get("direction", "up and down").lower()
    return f"{who} {way}" + (f" until {entry['until']}" if "until" in entry else "")
