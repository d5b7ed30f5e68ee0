"""The loop of one service: apply, observe, decide, act, report. Level-based: each pass starts from what is there."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
from pydantic import ValidationError

from pdoperator.actuation.actuator import Actuator
from pdoperator.api import defaults, names
from pdoperator.api.names import Component, Pool
from pdoperator.api.reasons import Reason
from pdoperator.api.status import Status
from pdoperator.api.units import epoch_s
from pdoperator.api.values import Missing, PerRole, Value, ratio_text
from pdoperator.cluster.events import Event, Subject
from pdoperator.cluster.kube import DEPLOYMENTS, PD_SERVICES, Kube, KubeError, Object, resource_of
from pdoperator.cluster.store import Key, Store
from pdoperator.controller import pods
from pdoperator.controller.metrics import Metrics
from pdoperator.controller.outbox import Outbox
from pdoperator.controller.plan import Plan, generation_of, read_plan
from pdoperator.controller.status import Obstacle, Situation, build_status, desired
from pdoperator.forecast.demand import Demand, DemandHistory
from pdoperator.planning.decide import decide
from pdoperator.planning.decision import Decision, History
from pdoperator.planning.observation import Observation
from pdoperator.planning.steps import next_steps
from pdoperator.signals.observe import ServiceScraper
from pdoperator.signals.pods import PodView
from pdoperator.workload.render import render

log = logging.getLogger(__name__)

RESYNC_S = 600.0  # everything is applied again this often, whatever the watches said
RETRY_FIRST_S = 1.0
RETRY_LIMIT_S = 30.0
REFUSED_RETRY_S = 10.0  # a spec that cannot be put into effect is tried again this often


@dataclass(frozen=True, slots=True)
class Context:
    """What the loops of all services share. `synced` is set once the store knows all pods and Deployments."""

    kube: Kube
    store: Store
    metrics: Metrics
    session: aiohttp.ClientSession
    router_image: str
    synced: asyncio.Event = field(default_factory=asyncio.Event)


class ServiceLoop:
    """Keeps one PDInferenceService as its newest spec and the load want it."""

    def __init__(self, context: Context, body: Object) -> None:
        metadata = body["metadata"]
        self._context = context
        self._key: Key = (metadata["namespace"], metadata["name"])
        self._body = body
        self._wake = asyncio.Event()
        self._apply_wanted = True
        self._applied_at = 0.0
        self._plan: Plan | None = None
        self._obstacle: Obstacle | None = None
        self._refused_until = 0.0
        self._scraper = ServiceScraper(context.session)
        self._history: History | None = None
        self._decision: Decision | None = None
        self._demand: Value[Demand | None] | Missing = Missing("no reading yet")
        self._decide_at = 0.0
        self._status = _known_status(body)
        self._blind = ""  # why the routers that were ready could not be read at the last decision
        self._told: set[tuple[Reason, str]] = set()
        self._outbox = Outbox(context.kube, context.metrics, Subject(*self._key, metadata["uid"]))

    def update(self, body: Object) -> None:
        """The object changed."""
        changed = generation_of(body) != generation_of(self._body)
        self._body = body
        if changed:
            self._apply_wanted = True
            self._refused_until = 0.0
            self._wake.set()

    def child_changed(self, *, apply: bool) -> None:
        """Something that belongs to the service changed; `apply` if it may no longer be as rendered."""
        self._apply_wanted |= apply
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. A pass that fails is repeated with a growing pause; nothing is undone meanwhile."""
        failures = 0
        try:
            # On half a picture of the fleet a restart would set sizes anew and choose victims.
            await self._context.synced.wait()
            while True:
                self._wake.clear()
                try:
                    with self._context.metrics.tick_seconds.time():
                        pause = await self._pass()
                    failures = 0
                except (TimeoutError, KubeError) as error:
                    failures += 1
                    pause = min(RETRY_LIMIT_S, RETRY_FIRST_S * 2.0 ** min(failures - 1, 8))
                    self._failed(error)
                except Exception as error:  # a defect in one service must not end the others
                    failures += 1
                    pause = RETRY_LIMIT_S
                    log.exception("service %s/%s", *self._key)
                    self._failed(error)
                await self._sleep(pause, alone=failures > 0)
        finally:
            self._context.metrics.forget(self._key)

    async def _sleep(self, pause: float, *, alone: bool) -> None:
        """Until `pause` is over or something changed; after a failure changes do not cut the pause short."""
        if alone:
            await asyncio.sleep(pause)
            return
        try:
            await asyncio.wait_for(self._wake.wait(), pause)
        except TimeoutError:
            return

    def _failed(self, error: Exception) -> None:
        log.warning("service %s/%s: %s; trying again", *self._key, error)
        self._context.metrics.failures.labels(*self._key).inc()

    async def _pass(self) -> float:
        """One pass; the seconds until the next one."""
        obstacle = await self._put_into_effect()
        due = time.monotonic() >= self._decide_at
        observation = await self._observe(end_interval=due)
        plan, busy = self._plan, False
        if plan is not None:
            if due:
                await self._decide(plan, observation)
            try:
                busy = await self._act(plan, observation)
            except KubeError as error:
                if not error.refused:
                    raise
                obstacle = obstacle or Obstacle(Reason.FAILED_RESCALE, str(error))
        await self._report(obstacle, observation)
        if plan is None:
            return RETRY_LIMIT_S
        return defaults.STEP_PERIOD_S if busy else max(0.05, self._decide_at - time.monotonic())

    async def _put_into_effect(self) -> Obstacle | None:
        """Apply the newest spec, or say why that cannot be; then the plan before goes on."""
        now = time.monotonic()
        if now < self._refused_until:
            return self._obstacle
        generation = generation_of(self._body)
        found: Plan | Obstacle | None = self._plan
        if self._plan is None or self._plan.generation != generation:
            found = await self._checked(read_plan(self._body))
        if isinstance(found, Plan) and found is not self._plan:
            self._adopt(found)
        obstacle = found if isinstance(found, Obstacle) else None
        if self._plan is not None:
            obstacle = await self._apply_if_due(self._plan) or obstacle
        self._obstacle = obstacle
        if obstacle is not None and generation == generation_of(self._body):
            self._refused_until = now + REFUSED_RETRY_S
        return obstacle

    async def _checked(self, plan: Plan | Obstacle) -> Plan | Obstacle:
        """The plan, if the API server takes its Deployments: then all is put into effect, else nothing of it."""
        if isinstance(plan, Obstacle):
            return plan
        try:
            for body in self._rendered(plan):
                if resource_of(body) is DEPLOYMENTS:
                    await self._context.kube.apply(body, dry_run=True)
        except KubeError as error:
            if not error.refused:
                raise
            return Obstacle(Reason.APPLY_FAILED, str(error))
        return plan

    def _adopt(self, plan: Plan) -> None:
        self._plan = plan
        self._apply_wanted = True
        self._decide_at = 0.0
        if self._history is None:
            target = desired(self._status) or plan.settings.first
            self._history = History(DemandHistory(plan.settings.window), target=target)

    def _target(self, plan: Plan) -> PerRole[int]:
        """What was decided last: by us, or as status tells by the operator before us; else the spec's replicas."""
        if self._history is not None and self._history.target is not None:
            return self._history.target
        return desired(self._status) or plan.settings.first

    async def _apply_if_due(self, plan: Plan) -> Obstacle | None:
        """Apply everything after a change and now and then; what the API server refuses is the obstacle."""
        now = time.monotonic()
        if not self._apply_wanted and now - self._applied_at < RESYNC_S:
            return None
        self._apply_wanted = False
        try:
            for body in self._rendered(plan):
                self._context.store.written(resource_of(body), await self._context.kube.apply(body))
        except KubeError as error:
            self._apply_wanted = True
            if not error.refused:
                raise
            return Obstacle(Reason.APPLY_FAILED, str(error))
        self._applied_at = now
        return None

    def _rendered(self, plan: Plan) -> list[Object]:
        return render(plan.owner, plan.spec, self._replicas(plan), self._context.router_image)

    def _replicas(self, plan: Plan) -> dict[Pool, int]:
        """The size that each pool has; a new one gets what was decided last."""
        target = self._target(plan)
        fresh = {
            Pool.SHARED: target.prefill + target.decode,
            Pool.PREFILL: target.prefill,
            Pool.DECODE: target.decode,
        }
        deployments = self._context.store.deployments(self._key)

        def current(pool: Pool) -> int:
            known = deployments.get(names.engine_deployment(plan.owner.name, pool))
            return int(known["spec"]["replicas"]) if known else fresh[pool]

        return {pool: current(pool) for pool in plan.pools}

    async def _observe(self, *, end_interval: bool) -> Observation:
        mine = [pod for pod in self._context.store.pods(self._key) if not pods.is_finished(pod)]
        engines = [_view(pod) for pod in pods.of_component(mine, Component.ENGINE)]
        routers = [_view(pod) for pod in pods.of_component(mine, Component.ROUTER)]
        observation = await self._scraper.observe(engines, routers, time.time(), end_interval=end_interval)
        if end_interval:
            self._demand = observation.demand
            unread = observation.demand.why if isinstance(observation.demand, Missing) else ""
            self._blind = unread if any(router.ready for router in routers) else ""
        return observation

    async def _decide(self, plan: Plan, observation: Observation) -> None:
        """The decision of an interval that has ended; an Event if it changes the size."""
        self._decide_at = time.monotonic() + plan.settings.interval_s
        before = self._target(plan)
        history = self._history or History(DemandHistory(plan.settings.window), before)
        decision, history = await asyncio.to_thread(decide, plan.settings, observation, history)
        self._context.metrics.decisions.labels(*self._key, decision.reason.value).inc()
        self._decision = decision
        if plan.spec.autoscaling.dry_run:
            history = History(history.demand, before, history.recommendations)
        self._history = history
        target = self._target(plan)
        if target != before:
            text = f"New size: {ratio_text(target)}; reason: {decision.message}"
            self._outbox.add(Event(Reason.SUCCESSFUL_RESCALE, text))

    async def _act(self, plan: Plan, observation: Observation) -> bool:
        """Take the steps towards the target. True while there is something under way."""
        context = self._context
        replicas = {pool.value: count for pool, count in self._replicas(plan).items()}
        limits = plan.settings.limits
        steps = next_steps(self._target(plan), observation.engines, replicas, observation.at_s, limits)
        now = datetime.now(UTC)
        actuator = Actuator(context.kube, context.store, plan.owner, plan.spec, now, self._outbox.add)
        await actuator.execute(steps)
        await self._prune(plan, observation)
        wanted = sum(replicas.values())
        settled = [
            engine for engine in observation.engines if engine.usable and engine.flip_started_s is None
        ]
        return bool(steps) or len(settled) != wanted or len(observation.engines) != wanted

    async def _prune(self, plan: Plan, observation: Observation) -> None:
        """Delete the Deployments of pools that the spec no longer has, once the new ones can serve."""
        wanted = {names.engine_deployment(plan.owner.name, pool) for pool in plan.pools}
        engine_pools = {names.engine_deployment(plan.owner.name, pool) for pool in Pool}
        left_over = (set(self._context.store.deployments(self._key)) & engine_pools) - wanted
        if not left_over:
            return
        serving = {engine.pool for engine in observation.engines if engine.usable}
        if set(plan.pools) <= serving:
            for name in sorted(left_over):
                await self._context.kube.delete(DEPLOYMENTS, plan.owner.namespace, name)

    async def _report(self, obstacle: Obstacle | None, observation: Observation) -> None:
        situation = self._situation(obstacle, observation)
        for trouble in self._troubles(situation):
            self._outbox.add(trouble)
        await self._outbox.post()
        await self._write_status(situation)

    def _situation(self, obstacle: Obstacle | None, observation: Observation) -> Situation:
        mine = self._context.store.pods(self._key)
        routers = pods.of_component(mine, Component.ROUTER)
        found = [pods.problem(pod) for pod in mine if not pods.is_deleting(pod)]
        plan = self._plan
        return Situation(
            service=self._key[1],
            generation=generation_of(self._body),
            target=self._target(plan) if plan else desired(self._status) or PerRole(0, 0),
            engines=observation.engines,
            routers_ready=sum(pods.is_ready(pod) and not pods.is_deleting(pod) for pod in routers),
            problems=[problem for problem in found if problem is not None],
            demand=self._demand,
            decision=self._decision,
            scaling_enabled=bool(plan and plan.spec.autoscaling.enabled),
            dry_run=bool(plan and plan.spec.autoscaling.dry_run),
            obstacle=obstacle,
        )

    def _troubles(self, situation: Situation) -> list[Event]:
        """Warnings for what is wrong now, each told once for as long as it lasts."""
        now: set[tuple[Reason, str]] = set()
        if situation.obstacle:
            now.add((situation.obstacle.reason, situation.obstacle.message))
        now |= {(problem.reason, problem.message) for problem in situation.problems}
        if self._blind:
            now.add((Reason.FAILED_GET_METRICS, self._blind))
        fresh = now - self._told
        self._told = now
        return [Event(reason, message, warning=True) for reason, message in sorted(fresh)]

    async def _write_status(self, situation: Situation) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = build_status(situation, self._status, now)
        ready = PerRole(status.prefill.ready, status.decode.ready)
        self._context.metrics.sizes(self._key, situation.target, ready)
        if status == self._status:
            return
        body = {"status": status.model_dump(by_alias=True, mode="json")}
        try:
            await self._context.kube.patch(PD_SERVICES, *self._key, body, subresource="status")
        except KubeError as error:
            if error.status != 404:  # deleted; the watch is about to say so
                raise
        self._status = status


def _known_status(body: Object) -> Status:
    """The status that is there; an unreadable one (of another version) counts as none."""
    try:
        return Status.model_validate(body.get("status") or {})
    except ValidationError:
        return Status()


def _view(pod: Object) -> PodView:
    metadata = pod["metadata"]
    return PodView(
        name=metadata["name"],
        ip=pod.get("status", {}).get("podIP", ""),
        labels=metadata.get("labels", {}),
        annotations=metadata.get("annotations", {}),
        ready=pods.is_ready(pod),
        deleting=pods.is_deleting(pod),
        created_s=epoch_s(metadata["creationTimestamp"]),
        uid=metadata.get("uid", ""),
        node=pod.get("spec", {}).get("nodeName", ""),
        scheduled_s=pods.since_s(pod, "PodScheduled"),
        started_s=pods.started_s(pod),
        ready_s=pods.since_s(pod, "Ready"),
        restarts=pods.restarts(pod),
    )
