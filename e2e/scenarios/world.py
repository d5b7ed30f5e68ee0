"""What scenarios see of the cluster: services, engines, Events, and an API server that can be taken away."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from cluster.lab.cluster import LabCluster
from cluster.node.cluster import NodeCluster
from demo import deploy
from demo.bringup import Stage
from demo.kubectl import Kubectl, KubectlError, Object, wait_for
from demo.plan import Plan
from demo.reach import Reach
from demo.traffic import Phase, Request, Traffic, steady
from pdoperator.api import names
from pdoperator.api.names import Component
from pdoperator.api.values import Value
from pdoperator.planning.starting import start_deadline_s
from pdoperator.signals.exposition import Series, read_series


@dataclass(frozen=True)
class Fleet:
    """A service that scenarios share, and the size at which each of them finds it."""

    name: str
    prefill: int
    decode: int


OPERATOR_PORT = 8080
LOG_LINES = 150  # of each kind of evidence

FEW = Fleet("few", 1, 2)
FORTY = Fleet("forty", 10, 30)

BY_DEFAULT: dict[str, None] = {"strategy": None, "interval": None}  # of the sample's autoscaling, removed


few_and_forty = pytest.mark.parametrize("fleet", [FEW, FORTY], indirect=True, ids=lambda fleet: fleet.name)


def static(prefill: int, decode: int, **autoscaling: Any) -> dict[str, Any]:
    """Changes to a spec that fix its size."""
    return {
        "prefill": {"replicas": prefill},
        "decode": {"replicas": decode},
        "autoscaling": {"strategy": "Static", **autoscaling},
    }


def light_load(seconds: float) -> Phase:
    """Short requests, now and then."""
    return steady("light", seconds, 0.6, (200, 20))


def long_answers(count: int) -> Phase:
    """So many requests at once, each of which keeps a decode engine busy for long."""
    return Phase("long answers", 1.0, "decode", tuple(Request(0.2 * n, 64, 800) for n in range(count)))


@dataclass(frozen=True)
class World:
    """The cluster, and the ways to it."""

    stage: Stage
    plan: Plan
    reach: Reach

    @property
    def kubectl(self) -> Kubectl:
        return self.stage.kubectl

    @property
    def patience(self) -> float:
        """How many times longer than simulated engines these take to start."""
        return 12.0 if self.plan.engine == "vllm" else 1.0

    def sample(self, name: str, **spec: Any) -> dict[str, Any]:
        """The sample service under another name, with changes to its spec (maps merge)."""
        body = deploy.sample(self.plan.engine, self.stage.images)
        body["metadata"]["name"] = name
        _merge(body["spec"], spec)
        return body

    def share(self, fleet: Fleet) -> None:
        """Bring a shared service to its spec and size, without Events; anew where it cannot get there."""
        engines = fleet.prefill + fleet.decode
        body = self.sample(fleet.name, **static(fleet.prefill, fleet.decode))
        for role in ("prefill", "decode"):
            body["spec"][role]["maxReplicas"] = engines - 1
        body["spec"]["autoscaling"]["gpuBudget"] = engines
        if self.kubectl.run("get", "pdis", fleet.name, "--ignore-not-found"):
            self.kubectl.run("replace", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(body))
            try:
                self._wait_until_settled(fleet, limit_s=30)
            except TimeoutError:
                deploy.delete_service(self.kubectl, fleet.name, 120 * self.patience)
        deploy.apply_service(self.kubectl, body)
        self._wait_until_settled(fleet, limit_s=60 + 5 * engines)
        deploy.wait_until_serving(self.kubectl, fleet.name, 60 * self.patience)
        self.kubectl.run("delete", "events", "--field-selector", f"involvedObject.name={fleet.name}")

    def edit(self, name: str, **spec: Any) -> None:
        """A merge patch of the spec."""
        self.kubectl.run("patch", "pdis", name, "--type=merge", "-p", yaml.safe_dump({"spec": spec}))

    def sizes(self, name: str) -> tuple[int, int]:
        """Ready prefill and decode engines, as status has them."""
        status = self.kubectl.service(name)["status"]
        return status["prefill"]["ready"], status["decode"]["ready"]

    def wait_for_sizes(self, name: str, prefill: int, decode: int, limit_s: float = 60) -> None:
        """Until exactly so many engines are ready."""
        wait_for(
            f"{prefill}P:{decode}D", lambda: self.sizes(name) == (prefill, decode), limit_s * self.patience
        )

    def _wait_until_settled(self, fleet: Fleet, limit_s: float) -> None:
        """Until the service is as its scenarios find it, one shared pool; its status may still tell of two pools."""
        wanted = Counter({"prefill": fleet.prefill, "decode": fleet.decode})

        def settled() -> bool:
            pools = [pod["metadata"]["labels"][names.LABEL_POOL] for pod in self.engine_pods(fleet.name)]
            return (
                pools == ["shared"] * wanted.total()
                and Counter(self.roles(fleet.name).values()) == wanted
                and self.sizes(fleet.name) == (fleet.prefill, fleet.decode)
            )

        wait_for(f"{fleet.name} as one shared pool", settled, limit_s * self.patience)

    def resize(self, fleet: Fleet, *, prefill: int, decode: int, limit_s: float = 60) -> None:
        """Change a static size by so many engines, and wait until it is reached."""
        spec = self.kubectl.service(fleet.name)["spec"]
        wanted = spec["prefill"]["replicas"] + prefill, spec["decode"]["replicas"] + decode
        self.edit(fleet.name, **static(*wanted))
        self.wait_for_sizes(fleet.name, *wanted, limit_s=limit_s)

    def roles(self, name: str) -> dict[str, str]:
        """Role of each engine that is Ready, by pod name, as the pods themselves say."""
        return {
            pod["metadata"]["name"]: pod["metadata"]["labels"].get(names.LABEL_ROLE, "")
            for pod in self.engine_pods(name)
            if _is_ready(pod)
        }

    def engines_with(self, fleet: Fleet, annotation: str) -> set[str]:
        """Engines that carry an annotation of ours: those that flip, or drain."""
        pods = self.engine_pods(fleet.name)
        return {
            pod["metadata"]["name"] for pod in pods if annotation in pod["metadata"].get("annotations", {})
        }

    def until_engines(self, fleet: Fleet, annotation: str) -> set[str]:
        """Wait until some engine carries an annotation; those that do."""
        wait_for(annotation, lambda: bool(self.engines_with(fleet, annotation)), 60, period_s=0.2)
        return self.engines_with(fleet, annotation)

    def until_busy(self, fleet: Fleet, decode: int) -> None:
        """Wait until so many decode engines have a request, by the router's own count."""
        url = self.reach.router(fleet.name)

        def busy() -> bool:
            outstanding = _series(url, "pdrouter_outstanding_requests")
            return sum(one.labels["role"] == "decode" and one.value > 0 for one in outstanding) >= decode

        wait_for(f"{decode} busy decode engines", busy, 60, period_s=0.2)

    def prefix_hits(self, name: str) -> tuple[float, float]:
        """Tokens of prompts that the router predicted to be cached where it sent them, and that prefill engines had."""
        urls, roles = self.reach.engines(name), self.roles(name)
        prefill = [urls[engine] for engine, role in roles.items() if role == "prefill"]
        return (
            _total(self.reach.router(name), "pdrouter_prefix_cache_hits_total"),
            sum(_total(url, "vllm:prefix_cache_hits_total") for url in prefill),
        )

    def engine_pods(self, name: str) -> list[Object]:
        """The engines' pods, those that are being deleted left out."""
        return self.kubectl.pods(names.selector_text(names.engine_selector(name)))

    def events(self, name: str) -> list[dict[str, Any]]:
        """Events about a service."""
        selector = f"involvedObject.kind=PDInferenceService,involvedObject.name={name}"
        items: list[dict[str, Any]] = self.kubectl.json("get", "events", "--field-selector", selector)[
            "items"
        ]
        return items

    def reasons(self, name: str) -> set[str]:
        """Reasons of the Events about a service."""
        return {event["reason"] for event in self.events(name)}

    def this_machine(self) -> str:
        """The address under which pods reach what runs here; skips the test where they do not."""
        if self.stage.cluster.kind == "kind":
            pytest.skip("the pods of a kind cluster do not reach what runs on this machine")
        (node,) = self.kubectl.json("get", "nodes")["items"]
        addresses = node["status"]["addresses"]
        return next(str(one["address"]) for one in addresses if one["type"] == "InternalIP")

    def watch(self, seconds: float, look: Callable[[], object]) -> None:
        """Look every second for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            look()
            time.sleep(1)

    def wanted(self, name: str) -> tuple[int, int]:
        """Prefill and decode engines, as was decided last."""
        status = self.kubectl.service(name)["status"]
        return status["prefill"]["desired"], status["decode"]["desired"]

    def decisions(self, name: str) -> int:
        """How many the operator has taken for a service, by its own count."""
        (pod,) = self.kubectl.json("get", "pods", "-n", deploy.OPERATOR_NAMESPACE)["items"]
        counts = _series(f"http://{pod['status']['podIP']}:{OPERATOR_PORT}", "pdoperator_decisions_total")
        return sum(int(one.value) for one in counts if one.labels["service"] == name)

    def told(self, name: str, kind: str, *, status: str, reason: str) -> bool:
        """Whether a condition says this of the newest spec."""
        service = self.kubectl.service(name)
        wanted = (kind, status, reason, service["metadata"]["generation"])
        return any(
            wanted == (one["type"], one["status"], one["reason"], one["observedGeneration"])
            for one in service["status"]["conditions"]
        )

    def failures_during(self, name: str, load: Phase, action: Callable[[], None]) -> list[str]:
        """What went wrong with the requests of `load` beside `action`; returns when both are over."""
        return self._failures(name, load, action, lambda: False)

    def failures_until_done(self, name: str, load: Phase, action: Callable[[], None]) -> list[str]:
        """The same with as much of `load` as comes before `action` is over."""
        over = threading.Event()

        def acted() -> None:
            try:
                action()
            finally:
                over.set()

        return self._failures(name, load, acted, over.is_set)

    def _failures(
        self, name: str, load: Phase, action: Callable[[], None], enough: Callable[[], bool]
    ) -> list[str]:
        """The action keeps this thread: what it starts ends with the thread that started it."""
        traffic = Traffic(self.reach.router(name), "tiny")
        with ThreadPoolExecutor(1) as beside:
            running = beside.submit(asyncio.run, traffic.run([load], enough=lambda _: enough()))
            action()
            running.result()
        assert traffic.answers
        return [answer.error for answer in traffic.answers if answer.error]

    def is_given_up(self, fleet: Fleet, load: Phase) -> None:
        """An engine is given up at its deadline, of a minute or of three start-ups; the others serve on, also after."""

        p90_s = self.kubectl.service(fleet.name)["status"]["decode"]["startupP90Seconds"]
        limit_s = start_deadline_s(Value(p90_s)) + 60 * self.patience

        def given_up() -> None:
            wait_for("EngineGivenUp", lambda: "EngineGivenUp" in self.reasons(fleet.name), limit_s)
            self.watch(5 * self.patience, lambda: None)

        assert self.failures_until_done(fleet.name, load, given_up) == []
        status, message = self.kubectl.condition(fleet.name, "Ready")
        assert (status, self.kubectl.service(fleet.name)["status"]["mode"]) == ("True", "Disaggregated"), (
            message
        )

    def stop_api_server(self) -> None:
        """Take the API server away; skips the test where it cannot be had without the cluster."""
        cluster = self.stage.cluster
        if not isinstance(cluster, LabCluster | NodeCluster):
            pytest.skip(f"the API server of a {cluster.kind} cluster cannot be stopped from here")
        cluster.control_plane.stop("kube-apiserver")

    def start_api_server(self) -> None:
        """Bring it back."""
        cluster = self.stage.cluster
        if isinstance(cluster, LabCluster | NodeCluster):
            cluster.control_plane.start("kube-apiserver")
        wait_for("the API server", lambda: self.kubectl.run("get", "--raw", "/readyz") == "ok", 60)

    def operator_pods(self) -> list[str]:
        """Names of the operator's pods."""
        namespace = ("-n", deploy.OPERATOR_NAMESPACE)
        return self.kubectl.run("get", "pods", *namespace, "-o", "name").split()

    def kill_operator(self) -> None:
        """At once, without a chance to finish anything."""
        killed = self.operator_pods()
        namespace = ("-n", deploy.OPERATOR_NAMESPACE)
        self.kubectl.run("delete", *killed, *namespace, "--grace-period=0", "--force", "--wait=false")

        def gone() -> bool:
            return not set(killed) & set(self.operator_pods())

        wait_for("the end of the operator", gone, 60, period_s=0.2)

    def until_operator_is_back(self) -> None:
        """Wait for the next one."""

        def ready() -> bool:
            pods = self.kubectl.json("get", "pods", "-n", deploy.OPERATOR_NAMESPACE)["items"]
            return any(_is_ready(pod) for pod in pods)

        wait_for("another operator", ready, 90 * self.patience)

    def evidence(self) -> list[tuple[str, str]]:
        """What the cluster says now, by title."""
        routers = f"{names.LABEL_COMPONENT}={Component.ROUTER}"
        return [
            ("services", self._said("get", "pdis", "-o", "yaml")),
            ("pods", self._said("get", "pods", "-o", "wide", "--show-labels")),
            ("Events", self._said("get", "events", "--sort-by=.lastTimestamp")),
            ("operator", self._said("logs", f"deployment/{deploy.RELEASE}", "-n", deploy.OPERATOR_NAMESPACE)),
            ("routers", self._said("logs", "-l", routers, "--prefix", f"--tail={LOG_LINES}")),
        ]

    def _said(self, *args: str) -> str:
        """The last lines of what kubectl answers; a cluster that is in trouble may answer nothing."""
        try:
            return "\n".join(self.kubectl.run(*args, limit_s=20).splitlines()[-LOG_LINES:])
        except (KubectlError, subprocess.TimeoutExpired) as error:
            return str(error)


def routed(router_url: str, role: str) -> set[str]:
    """Engines that a router uses in a role."""
    table = _series(router_url, "pdrouter_engine_info")
    return {one.labels["engine"] for one in table if one.labels["role"] == role}


def prompted(router_url: str) -> set[str]:
    """Engines that a router has a prompt on, for another to decode."""
    table = _series(router_url, "pdrouter_outstanding_requests")
    return {one.labels["engine"] for one in table if one.labels["role"] == "prefill" and one.value}


def prefills(engine_url: str) -> float:
    """Prompts that an engine has computed for another to decode, by its own count: those alone end with one token.

    That holds where no client asks for a single token.
    """
    buckets = _series(engine_url, "vllm:request_generation_tokens_bucket")
    return sum(bucket.value for bucket in buckets if bucket.labels["le"] == "1.0")


def _series(url: str, name: str) -> list[Series]:
    """A metric of what answers there."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        return read_series(answer.read().decode(), [name]).get(name, [])


def _total(url: str, name: str) -> float:
    return sum(one.value for one in _series(url, name))


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _merge(into: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
