"""pdctl doctor: what is wrong with the cluster, or with a service on it, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from pdoperator.api import names
from pdoperator.api.reasons import Condition
from pdoperator.cli.output import emit, output_option
from pdoperator.cli.services import Service, default_namespace, get_service, namespace_option, on_cluster

if TYPE_CHECKING:
    from pdoperator.cluster.kube import Kube

# Conditions that should be False; all others should be True.
_NEGATIVE = {Condition.SCALING_LIMITED.value, Condition.PAUSED.value, Condition.CONFLICT.value}
# Those that are choices of a person, or states that pass: worth telling, no fault.
_NOTICE = {Condition.SCALING_LIMITED.value, Condition.PAUSED.value, Condition.FORECAST_TRUSTED.value}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `outcome` is ok, notice or failed."""

    check: str
    outcome: str
    message: str


@click.command()
@click.argument("name", required=False)
@namespace_option
@output_option
def doctor(name: str | None, namespace: str | None, output: str) -> None:
    """Look for what is wrong: the API and its rights, and with NAME its conditions, signals and pods.

    Exit code 1 when something failed.
    """
    checks = on_cluster(lambda kube: _examine(kube, name, namespace))
    failed = sum(1 for check in checks if check.outcome == "failed")
    emit({"checks": checks, "failed": failed}, output, lambda: _table(checks))
    if failed:
        raise click.exceptions.Exit(1)


async def _examine(kube: Kube, name: str | None, namespace: str | None) -> list[Check]:
    where = namespace or default_namespace()
    checks = await _api(kube, where)
    if name is None or any(check.outcome == "failed" for check in checks):
        return checks
    service = await get_service(kube, name, where)
    return [*checks, *_seen(service), *_conditions(service), *_signals(service), *await _pods(kube, service)]


async def _api(kube: Kube, namespace: str) -> list[Check]:
    from pdoperator.cluster.kube import PD_SERVICES, KubeError

    try:
        count = len(await kube.list(PD_SERVICES, namespace, ""))
    except KubeError as error:
        hint = "is the CRD there (kubectl apply -f crds/)?" if error.status == 404 else "see the message"
        return [Check("services can be read", "failed", f"{error.message}; {hint}")]
    return [
        Check("services can be read", "ok", f"{count} in namespace {namespace}"),
        await _may(kube, namespace, "patch", names.PLURAL, "pdctl pause and resume need it"),
        await _may(kube, namespace, "list", "pods", "pdctl top and doctor need it", group=""),
    ]


async def _may(
    kube: Kube, namespace: str, verb: str, resource: str, why: str, group: str = names.GROUP
) -> Check:
    """Whether the person who asks may do this. The answer is the API server's own."""
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await kube.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)
    allowed = bool(answer.get("status", {}).get("allowed"))
    return Check(f"you may {verb} {resource}", "ok" if allowed else "notice", "" if allowed else f"no: {why}")


def _seen(service: Service) -> Iterator[Check]:
    """Whether an operator looks after it."""
    generation, seen = service.body["metadata"].get("generation"), service.status.observed_generation
    if seen is None:
        text = "no operator has written a status: is one running, and does it watch this namespace?"
        yield Check("an operator looks after it", "failed", text)
    elif generation is not None and seen < generation:
        text = f"the spec is of generation {generation}, the status of {seen}: the operator is behind or away"
        yield Check("an operator looks after it", "failed", text)
    else:
        yield Check("an operator looks after it", "ok", "the status speaks of the newest spec")


def _conditions(service: Service) -> Iterator[Check]:
    for condition in service.status.conditions:
        wanted = "False" if condition.type in _NEGATIVE else "True"
        otherwise = "notice" if condition.type in _NOTICE else "failed"
        outcome = "ok" if condition.status == wanted else otherwise
        yield Check(
            f"{condition.type} is {condition.status}", outcome, f"{condition.reason}: {condition.message}"
        )


def _signals(service: Service) -> Iterator[Check]:
    for signal in service.status.signals:
        outcome = "ok" if signal.state == "Fresh" else "notice"
        yield Check(f"signal {signal.name}", outcome, f"{signal.state}, {signal.used_as}: {signal.message}")


async def _pods(kube: Kube, service: Service) -> list[Check]:
    from pdoperator.cluster.kube import PODS
    from pdoperator.controller.pods import is_ready, problem

    pods: list[dict[str, Any]] = await kube.list(
        PODS, service.namespace, f"{names.LABEL_SERVICE}={service.name}"
    )
    checks = []
    for pod in pods:
        found, name = problem(pod), f"pod {pod['metadata']['name']}"
        if found is not None:
            checks.append(Check(name, "failed", f"{found.reason}: {found.message}"))
        elif is_ready(pod):
            checks.append(Check(name, "ok", "ready"))
        else:
            checks.append(Check(name, "notice", "not ready yet"))
    return checks or [Check("pods", "failed", "there are none")]


def _table(checks: list[Check]) -> Table:
    table = Table("", "check", "found", box=None)
    marks = {"ok": "ok", "notice": "note", "failed": "FAIL"}
    for check in checks:
        table.add_row(marks[check.outcome], check.check, check.message)
    return table
