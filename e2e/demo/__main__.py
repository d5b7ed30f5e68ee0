"""`python -m demo up|down`: see the operator at work on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import click
from rich.console import Console
from rich.table import Table

from cluster.choice import KINDS, Cluster, NotPossible, choose, existing, make_cluster
from cluster.components import components
from cluster.helm import find_helm
from cluster.images import build_image
from cluster.preflight import DoesNotFit, ensure_fits
from cluster.processes import StartFailed
from cluster.steps import Steps, spoken
from cluster.toolchain import ToolMissing
from demo import deploy, machine, report
from demo.compare import Comparison, compare
from demo.kubectl import Kubectl, KubectlError
from demo.picture import draw
from demo.plan import MODEL, NotOffered, Plan, host_paths, make_plan
from demo.reach import Reach
from demo.timeline import Timeline
from demo.traffic import Traffic
from engine.model import ensure_model
from engine.vllm_cpu import EngineInstallError, ensure_tree

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
        cluster, images, warm = self._bring_up()
        tools = components(["kubectl"], self.steps)
        kubectl = Kubectl(tools["kubectl"], cluster.kubeconfig)
        helm = find_helm(self.steps)
        with self.steps.step("install the operator with its chart", 10):
            deploy.install_operator(helm, kubectl, images)
        body = deploy.sample(self.plan.engine, images)
        name: str = body["metadata"]["name"]
        with self.steps.step(
            "start the service: one prefill and one decode engine", 60 if self.plan.engine == "vllm" else 8
        ):
            deploy.delete_service(kubectl, name)  # an earlier run's, with its Events
            kubectl.run("delete", "events", "--field-selector", f"involvedObject.name={name}")
            deploy.apply_service(kubectl, body)
            deploy.wait_until_serving(kubectl, name, self.plan.start_limit_s)
        with contextlib.closing(Reach(kubectl, direct=cluster.kind != "kind")) as reach:
            comparison, timeline = asyncio.run(self._use(kubectl, reach, name))
        version = kubectl.json("version")["serverVersion"]["gitVersion"]
        found = report.build(
            cluster={"kind": cluster.kind, "why": cluster.why, "kubernetes_version": version},
            engine=self.plan.engine,
            timeline=timeline,
            phases=self.plan.phases,
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

    def _bring_up(self) -> tuple[Cluster, deploy.Images, bool]:
        """The cluster with its images; True if nothing had to be built or installed."""
        warm = not any(need.disk_gib > 1 for need in self.plan.needs())
        paths: Mapping[str, Path] = {}
        if self.plan.engine == "vllm":
            with self.steps.step("have vLLM for CPU and its model"):
                paths = host_paths(ensure_tree(log=self.steps.say), ensure_model(MODEL).parent)
        cluster = make_cluster(self.plan.choice, self.steps, host_paths=paths)
        with self.steps.step("bring the cluster up"):
            cluster.up()
        references: dict[str, str] = {}
        for source in self.plan.images:
            image = build_image(source, self.steps)
            with self.steps.step(f"load the image {source.name}"):
                cluster.load_image(image.archive)
            references[source.name] = image.reference
        known = deploy.Images()
        images = deploy.Images(
            references.get("pd-operator", known.operator), references.get("pd-vllm-cpu", known.engine)
        )
        return cluster, images, warm

    async def _use(self, kubectl: Kubectl, reach: Reach, name: str) -> tuple[Comparison, Timeline]:
        url = reach.router(name)
        with self.steps.step("compare answers of prefill/decode with those of one engine"):
            comparison = await compare(url, next(iter(reach.engines(name).values())), name)
        traffic = Traffic(url, name)
        timeline = Timeline(kubectl, reach, name, traffic)
        seconds = sum(phase.seconds for phase in self.plan.phases)
        with self.steps.step(
            f"send traffic in {len(self.plan.phases)} phases and watch the ratio follow", seconds
        ):
            watching = asyncio.create_task(timeline.run())
            try:
                await traffic.run(self.plan.phases)
                await timeline.sample()
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        return comparison, timeline


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
