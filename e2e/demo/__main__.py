"""`python -m demo up|down`: see the operator at work on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import click
from rich.console import Console
from rich.table import Table

from cluster.choice import KINDS, NotPossible, choose, existing, make_cluster
from cluster.preflight import DoesNotFit, ensure_fits
from cluster.processes import StartFailed
from cluster.steps import Steps, spoken
from cluster.toolchain import ToolMissing
from demo import deploy, machine, report
from demo.bringup import bring_up, engine_folders
from demo.compare import Comparison, compare
from demo.kubectl import Kubectl, KubectlError
from demo.picture import draw
from demo.plan import NotOffered, Plan, make_plan, pace, phases
from demo.reach import Reach
from demo.timeline import Timeline
from demo.traffic import Phase, Traffic
from engine.vllm_cpu import EngineInstallError

OUTPUT = Path("build/demo")
REFUSALS = (
    NotPossible, NotOffered, DoesNotFit, ToolMissing, StartFailed, EngineInstallError, KubectlError, TimeoutError,
    subprocess.TimeoutExpired, aiohttp.ClientError, RuntimeError,
)  # fmt: skip


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command()
@click.option("--cluster", "kind", default="auto", type=click.Choice(["auto", *KINDS]), envvar="CLUSTER")
@click.option("--engine", default="auto", type=click.Choice(["auto", "vllm", "sim"]), envvar="ENGINE")
def up(kind: str, engine: str) -> None:
    """Cluster, operator, service, traffic, report. The cluster stays up."""
    steps = Steps()
    started = time.monotonic()
    try:
        plan = make_plan(choose(kind), engine)
        steps.say(f"cluster: {plan.choice.kind} ({plan.choice.why}); engines: {plan.engine}")
        steps.say("what this will do, and what it takes:")
        ensure_fits(plan.needs(), steps)
        found = Demo(plan, steps).run()
    except REFUSALS as reason:
        raise click.ClickException(str(reason)) from reason
    print_summary(found, time.monotonic() - started)
    problems = report.problems(found)
    for problem in problems:
        click.echo(f"NOT AS PROMISED: {problem}", err=True)
    sys.exit(1 if problems else 0)


@main.command()
def down() -> None:
    """Remove the cluster and all that the demo put on this machine, the cache left out."""
    for cluster in existing(Steps()):
        cluster.down()


@dataclass(frozen=True)
class Demo:
    """One run."""

    plan: Plan
    steps: Steps

    def run(self) -> dict[str, Any]:
        """The whole of it; the report. Raises one of REFUSALS."""
        warm = not any(need.disk_gib > 1 for need in self.plan.needs())  # nothing to build or install
        folders = engine_folders(self.plan, self.steps)
        stage = bring_up(
            self.plan, make_cluster(self.plan.choice, self.steps, host_paths=folders), self.steps
        )
        cluster, kubectl = stage.cluster, stage.kubectl
        body = deploy.sample(self.plan.engine, stage.images)
        name: str = body["metadata"]["name"]
        with self.steps.step(
            "start the service: one prefill and two decode engines", 80 if self.plan.engine == "vllm" else 8
        ):
            deploy.delete_service(kubectl, name)  # an earlier run's, with its Events
            kubectl.run("delete", "events", "--field-selector", f"involvedObject.name={name}")
            deploy.apply_service(kubectl, body)
            deploy.wait_until_serving(kubectl, name, self.plan.start_limit_s)
        with contextlib.closing(Reach(kubectl, direct=cluster.kind != "kind")) as reach:
            comparison = self._compare(reach, name)
            slower = pace(self.plan.engine, comparison.seconds)
            if slower > 1:
                self.steps.say(f"engines are {slower} times slower here than planned: so is the traffic")
            load = phases(self.plan.engine, slower)
            timeline = asyncio.run(self._send(load, kubectl, reach, name))
        version = kubectl.json("version")["serverVersion"]["gitVersion"]
        found = report.build(
            cluster={"kind": cluster.kind, "why": cluster.why, "kubernetes_version": version},
            engine=self.plan.engine,
            timeline=timeline,
            phases=load,
            comparison=comparison,
            listed=report.events(kubectl, name),
            steps=self.steps.records,
            warm=warm,
            machine=machine.describe(),
        )
        found["look_around"] = look_around(kubectl, name)
        report.write(found, OUTPUT)
        draw(found, OUTPUT / "timeline.svg")
        draw(found, OUTPUT / "timeline.png")
        return found

    def _compare(self, reach: Reach, name: str) -> Comparison:
        alone = next(iter(reach.engines(name).values()))
        with self.steps.step("compare answers of prefill/decode with those of one engine"):
            return asyncio.run(compare(reach.router(name), alone, name))

    async def _send(self, load: Sequence[Phase], kubectl: Kubectl, reach: Reach, name: str) -> Timeline:
        traffic = Traffic(reach.router(name), name)
        timeline = Timeline(kubectl, reach, name, traffic)
        seconds = sum(phase.seconds for phase in load)
        with self.steps.step(f"send traffic in {len(load)} phases and watch the ratio follow", seconds):
            watching = asyncio.create_task(timeline.run())
            try:
                await traffic.run(load)
                await timeline.sample()
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        return timeline


def look_around(kubectl: Kubectl, name: str) -> list[str]:
    """The three commands to go on with."""
    prefix = f"{kubectl.binary} --kubeconfig {kubectl.kubeconfig}"
    return [
        f"{prefix} get pdis -w",
        f"{prefix} describe pdis {name}",
        f"{prefix} get pods -L pdoperator.io/role,pdoperator.io/state",
    ]


def print_summary(found: dict[str, Any], seconds: float) -> None:
    """What happened, for people."""
    console = Console(stderr=False)
    cluster = found["cluster"]
    title = f"Demo on {cluster['kind']} ({cluster['kubernetes_version']}), {found['engine']} engines"
    table = Table(title=title, show_header=False)
    requests, outputs = found["requests"], found["outputs"]
    table.add_row(
        "requests", f"{requests['answered']} of {requests['sent']} answered, {requests['failed']} failed"
    )
    table.add_row("KV tokens transferred", str(found["kv_tokens_transferred"]))
    table.add_row("outputs equal to aggregated", f"{outputs['equal']} of {outputs['compared']}")
    table.add_row("ready ratios", " -> ".join(ratios(found["timeline"])))
    table.add_row("role flips", ", ".join(f"{flip['seconds']:.1f} s" for flip in found["flips"]) or "none")
    table.add_row("took", spoken(seconds))
    table.add_row("report", f"{OUTPUT}/report.json, {OUTPUT}/timeline.png")
    console.print(table)
    for event in found["events"]:
        console.print(f"  {event['reason']:<20} {event['message']}", highlight=False, soft_wrap=True)
    console.print("\nThe cluster is up. Look around with:")
    for command in found["look_around"]:
        console.print(f"  {command}", highlight=False, soft_wrap=True)
    console.print("and remove it with: make demo-clean")


def ratios(timeline: list[dict[str, Any]]) -> list[str]:
    """Ready P:D in the order in which they came, repetitions left out."""
    seen: list[str] = []
    for point in timeline:
        text = f"{point['prefill']}:{point['decode']}"
        if point["prefill"] and point["decode"] and (not seen or seen[-1] != text):
            seen.append(text)
    return seen


if __name__ == "__main__":
    main()
