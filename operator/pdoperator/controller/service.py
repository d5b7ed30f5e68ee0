"""The loop of one service: apply, observe, decide, act, report. Level-based: each pass starts from what is there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import aiohttp

from pdoperator.actuation.actuator import Actuator
from pdoperator.api import defaults, names
from pdoperator.api.names import Component, Pool, Role
from pdoperator.api.reasons import Reason
from pdoperator.api.values import PerRole, Value, ratio_text
from pdoperator.cluster.events import Event, Subject
from pdoperator.cluster.kube import DEPLOYMENTS, Kube, KubeError, Object
from pdoperator.cluster.store import Key, Store
from pdoperator.controller import pods
from pdoperator.controller.effect import Effect
from pdoperator.controller.ledger import Ledger
from pdoperator.controller.memory import Memory
from pdoperator.controller.metrics import Metrics
from pdoperator.controller.pauses import paused_now
from pdoperator.controller.plan import Plan, generation_of
from pdoperator.controller.remembered import Past, history_from_texts, history_to_texts
from pdoperator.controller.reporter import Reporter
from pdoperator.controller.shortage import Shortage
from pdoperator.controller.situation import Obstacle, Situation, StartTimes
from pdoperator.controller.sources import Sources
from pdoperator.controller.status import desired
from pdoperator.controller.views import pod_view
from pdoperator.forecast.demand import DemandHistory
from pdoperator.planning.decide import decide
from pdoperator.planning.decision import Decision, History
from pdoperator.planning.modes.choose import mode_of
from pdoperator.planning.observation import Observation
from pdoperator.planning.steps import next_steps
from pdoperator.signals.observe import ServiceScraper
from pdoperator.signals.prometheus import PrometheusError
from pdoperator.signals.startup import StartUps

log = logging.getLogger(__name__)

RETRY_FIRST_S = 1.0
RETRY_LIMIT_S = 30.0


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
        self._effect = Effect(context.kube, context.store, self._key, context.router_image, self._replicas)
        self._scraper = ServiceScraper(context.session)
        self._sources = Sources(self._scraper, self._key)
        self._memory = Memory(context.kube, self._key)
        self._shortage = Shortage()
        self._ledger = Ledger(context.metrics, self._key)
        self._history: History | None = None
        self._decision: Decision | None = None
        self._decided_on: Observation | None = None
        self._decide_at = 0.0
        subject = Subject(*self._key, metadata["uid"])
        self._reporter = Reporter(context.kube, context.metrics, subject, body)

    def update(self, body: Object) -> None:
        """The object changed."""
        changed = generation_of(body) != generation_of(self._body)
        self._body = body
        if changed:
            self._effect.spec_changed()
            self._wake.set()

    def child_changed(self, *, apply: bool) -> None:
        """Something that belongs to the service changed; `apply` if it may no longer be as rendered."""
        if apply:
            self._effect.apply_again()
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

    async def save(self) -> None:
        """Write down what shall survive the end of this process; for a service that stays, after its loop ended."""
        if self._effect.plan is not None and self._history is not None:
            await self._memory.write(self._effect.plan.owner, self._texts, at_once=True)

    async def _sleep(self, pause: float, *, alone: bool) -> None:
        """Until `pause` is over or something changed; after a failure changes do not cut the pause short."""
        if alone:
            await asyncio.sleep(pause)
            return
        # Not wait_for: in Python 3.11 it swallows a cancellation that comes as the wait ends.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wake.wait()

    def _failed(self, error: Exception) -> None:
        log.warning("service %s/%s: %s; trying again", *self._key, error)
        self._context.metrics.failures.labels(*self._key).inc()

    async def _pass(self) -> float:
        """One pass; the seconds until the next one."""
        if await self._effect.bring(self._body):
            self._decide_at = 0.0
            if self._history is not None:  # an edit, and not the first spec of this process
                self._shortage.forget(time.time())
            if self._effect.plan is not None:
                self._sources.choose(self._effect.plan)
        plan, busy = self._effect.plan, False
        if plan is not None:
            if self._history is None:
                self._history = await self._remembered(plan)
            await self._effect.apply()
        due = time.monotonic() >= self._decide_at
        observation = await self._observe(end_interval=due)
        obstacle = self._effect.obstacle
        if plan is not None:
            self._give_up(plan, observation)
            if due:
                await self._decide(plan, observation)
            try:
                busy = await self._act(plan, observation)
            except KubeError as error:
                if not error.refused:
                    raise
                obstacle = obstacle or Obstacle(Reason.FAILED_RESCALE, str(error))
        await self._reporter.report(self._situation(obstacle, observation))
        if plan is None:
            return RETRY_LIMIT_S
        await self._memory.write(plan.owner, self._texts)
        return defaults.STEP_PERIOD_S if busy else max(0.05, self._decide_at - time.monotonic())

    async def _remembered(self, plan: Plan) -> History:
        """What the operator before us knew: the target from status, the rest from its ConfigMap."""
        texts = await self._memory.read()
        self._scraper.startups = StartUps.from_text(texts.get("startups", ""))
        past = Past() if "demand" in texts else await self._past(plan)
        target = desired(self._reporter.status) or plan.settings.first
        return await asyncio.to_thread(history_from_texts, texts, past, plan.settings, target)

    async def _past(self, plan: Plan) -> Past:
        """The demand before our time; where its source does not answer people are told what that costs."""
        try:
            return await self._sources.past(plan)
        except PrometheusError as failure:
            text = f"the demand before was not read, so days and weeks are learnt anew: {failure}"
            self._reporter.tell(Event(Reason.FAILED_GET_METRICS, text, warning=True))
            return Past()

    def _texts(self) -> dict[str, str]:
        texts = history_to_texts(self._history) if self._history else {}
        return {"startups": self._scraper.startups.to_text(), **texts}

    def _target(self, plan: Plan) -> PerRole[int]:
        """What was decided last: by us, or as status tells by the operator before us; else the spec's replicas."""
        if self._history is not None and self._history.target is not None:
            return self._history.target
        return desired(self._reporter.status) or plan.settings.first

    def _replicas(self, plan: Plan) -> dict[Pool, int]:
        """The size that each pool has; a new one gets what was decided last, but nothing while it replaces another."""
        target = self._target(plan)
        fresh = {
            Pool.SHARED: target.prefill + target.decode,
            Pool.PREFILL: target.prefill,
            Pool.DECODE: target.decode,
        }
        deployments = self._context.store.deployments(self._key)

        def current(pool: Pool) -> int:
            known = deployments.get(names.engine_deployment(plan.owner.name, pool))
            if known is not None:
                return int(known["spec"]["replicas"])
            return 0 if self._leaving(plan) else fresh[pool]

        return {pool: current(pool) for pool in plan.pools}

    def _leaving(self, plan: Plan) -> dict[Pool, int]:
        """Sizes of the pools that the spec no longer has and whose Deployments are still there."""
        deployments = self._context.store.deployments(self._key)
        named = {
            pool: names.engine_deployment(plan.owner.name, pool) for pool in Pool if pool not in plan.pools
        }
        return {
            pool: int(deployments[name]["spec"]["replicas"])
            for pool, name in named.items()
            if name in deployments
        }

    async def _observe(self, *, end_interval: bool) -> Observation:
        mine = [pod for pod in self._context.store.pods(self._key) if not pods.is_finished(pod)]
        engines = [pod_view(pod) for pod in pods.of_component(mine, Component.ENGINE)]
        routers = [pod_view(pod) for pod in pods.of_component(mine, Component.ROUTER)]
        await self._sources.try_out(routers, engines)
        return await self._scraper.observe(engines, routers, time.time(), end_interval=end_interval)

    def _give_up(self, plan: Plan, observation: Observation) -> None:
        """Engines that do not start: told, and the next decision is due now."""
        for event in self._shortage.look(observation, plan.settings.limits):
            self._reporter.tell(event)
            self._decide_at = 0.0

    async def _decide(self, plan: Plan, observation: Observation) -> None:
        """The decision of an interval that has ended; an Event if it changes the size."""
        self._decide_at = time.monotonic() + plan.settings.interval_s
        before = self._target(plan)
        history = self._history or History(DemandHistory(plan.settings.window), before)
        settings = replace(
            plan.settings, limits=self._shortage.limits(plan.settings.limits, observation.at_s)
        )
        decision, history = await asyncio.to_thread(decide, settings, observation, history)
        self._decision, self._decided_on = decision, observation
        self._context.metrics.decided(self._key, decision, observation)
        self._history = history
        target = self._target(plan)
        if target != before:
            text = f"New size: {ratio_text(target)}; reason: {decision.message}"
            self._reporter.tell(Event(Reason.SUCCESSFUL_RESCALE, text))
        if mode_of(target) is not mode_of(before):
            text = f"{mode_of(target).value} (was {mode_of(before).value}); reason: {decision.message}"
            self._reporter.tell(Event(Reason.MODE_CHANGED, text))

    async def _act(self, plan: Plan, observation: Observation) -> bool:
        """Take the steps towards the target. True while there is something under way."""
        self._effect.notice_scaling()
        context, leaving = self._context, self._leaving(plan)
        sizes = self._replicas(plan) | leaving
        self._ledger.note(observation, plan.settings.limits)
        steps = next_steps(
            self._effect.within_what_is_ours(self._target(plan), sizes),
            observation.engines,
            {pool.value: count for pool, count in sizes.items()},
            observation.at_s,
            plan.settings.limits,
            lease_s=plan.spec.transport.kv_lease_seconds,
            leaving=[pool.value for pool in leaving],
        )
        now = datetime.now(UTC)
        actuator = Actuator(context.kube, context.store, plan.owner, plan.spec, now, self._reporter.tell)
        await actuator.execute(steps)
        await self._prune(plan, leaving, observation)
        wanted = sum(sizes.values())
        settled = [
            engine for engine in observation.engines if engine.usable and engine.flip_started_s is None
        ]
        return bool(steps) or len(settled) != wanted or len(observation.engines) != wanted

    async def _prune(self, plan: Plan, leaving: dict[Pool, int], observation: Observation) -> None:
        """Delete the Deployments of pools that the spec no longer has, once they have no engine left."""
        left = {engine.pool for engine in observation.engines}
        for pool, size in leaving.items():
            if not size and pool not in left:
                name = names.engine_deployment(plan.owner.name, pool)
                await self._context.kube.delete(DEPLOYMENTS, plan.owner.namespace, name)

    def _situation(self, obstacle: Obstacle | None, observation: Observation) -> Situation:
        mine = self._context.store.pods(self._key)
        routers = pods.of_component(mine, Component.ROUTER)
        found = [pods.problem(pod) for pod in mine if not pods.is_deleting(pod)]
        plan = self._effect.plan
        status = self._reporter.status
        return Situation(
            service=self._key[1],
            generation=generation_of(self._body),
            target=self._target(plan) if plan else desired(status) or PerRole(0, 0),
            observation=observation,
            decided_on=self._decided_on,
            routers_ready=sum(pods.is_ready(pod) and not pods.is_deleting(pod) for pod in routers),
            problems=[problem for problem in found if problem is not None],
            decision=self._decision,
            scaling_enabled=bool(plan and plan.spec.autoscaling.enabled),
            dry_run=bool(plan and plan.spec.autoscaling.dry_run),
            obstacle=obstacle,
            startups=PerRole.of(lambda role: self._start_times(plan, role)),
            decides=plan.decides if plan else "",
            paused=paused_now(plan.settings.pauses, observation.at_s) if plan else "",
            source_problems=self._sources.problems,
            conflict=self._effect.conflict,
            yielded=self._effect.yielded,
        )

    def _start_times(self, plan: Plan | None, role: Role) -> StartTimes:
        shared = plan is None or Pool.SHARED in plan.pools
        pool = Pool.SHARED if shared else Pool(role.value)
        p50, p90 = (self._scraper.startups.quantile(share, pool) for share in (0.5, 0.9))
        return StartTimes(*(reading.x if isinstance(reading, Value) else None for reading in (p50, p90)))
