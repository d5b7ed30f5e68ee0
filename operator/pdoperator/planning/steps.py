"""What to do next so that the fleet becomes the target: level-based, resumable from what pods and Deployments say.

A pool's replicas are the engines that shall stay plus those still draining. To shrink, victims drain first; a drained
victim is marked (pod-deletion-cost) and the replicas lowered by one, so that its ReplicaSet deletes it and no other.
Nothing is remembered here: each call looks at labels, annotations and replicas, so it goes on wherever another stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pdoperator.api import defaults
from pdoperator.api.names import Pool, Role, State
from pdoperator.api.values import PerRole, Value
from pdoperator.planning.decision import CancelDrain, ConfirmFlip, Remove, ScaleTo, SetRole, StartDrain, Step
from pdoperator.planning.drain import choose_victims, drain_timed_out, drained
from pdoperator.planning.observation import EngineView
from pdoperator.planning.roles import assign_roles
from pdoperator.planning.settings import Limits
from pdoperator.planning.starting import cost_of
from pdoperator.planning.transition import kept_by_leaving, left_to_leaving


@dataclass(frozen=True, slots=True)
class _PoolView:
    """One pool: its replicas, the engines that serve or start, those that drain; without those as good as gone."""

    pool: Pool
    size: int  # engines that shall stay
    split: PerRole[int]  # in what proportion they prefill and decode, where that is not fixed
    replicas: int
    live: tuple[EngineView, ...]
    draining: tuple[EngineView, ...]

    @property
    def excess(self) -> int:
        """Engines too many (positive) or too few (negative), those that drain not counted."""
        return self.replicas - len(self.draining) - self.size


def next_steps(
    target: PerRole[int],
    engines: Iterable[EngineView],
    replicas_by_pool: Mapping[str, int],
    now_s: float,
    limits: Limits | None = None,
    lease_s: float = defaults.KV_LEASE_S,
    leaving: Collection[str] = (),
) -> list[Step]:
    """The steps to take now, in order; [] when the fleet is the target. Call it again after they were taken.

    `replicas_by_pool` holds spec.replicas of the Deployments that exist, by pool name: one shared pool, or one per
    role. With `limits`, a dedicated pool grows only as far as the GPU budget has room beside what still drains.
    `lease_s` is how long an engine keeps KV that no decode engine has fetched. `leaving` names pools that the spec no
    longer has: their engines make room for the others' and go last.
    """
    engines = tuple(engines)
    sizes = _sizes(target, engines, replicas_by_pool, limits, leaving)
    new = [engine for engine in engines if not engine.deleting and engine.pool.value not in leaving]
    splits = {name: left_to_leaving(target, new) if name in leaving else target for name in replicas_by_pool}
    pools = [
        _pool_view(Pool(name), sizes[name], splits[name], engines, count)
        for name, count in replicas_by_pool.items()
    ]
    steps: list[Step] = []
    for view in pools:
        steps += _shrink(view, now_s, lease_s)
    steps += _grow(
        [view for view in pools if view.pool.value not in leaving], _room(pools, engines, limits), limits
    )
    stopping = {step.engine for step in steps if isinstance(step, StartDrain | Remove)}
    # Marked, yet spared: its ReplicaSet took another. Left marked it would go in the place of a later victim.
    spared = [e for view in pools for e in view.live if e.removing and e.name not in stopping]
    steps += [CancelDrain(engine.name, engine.state) for engine in spared]
    for view in pools:
        staying = [engine for engine in view.live if engine.name not in stopping]
        steps += _roles(view.pool, view.split, staying, now_s)
    return steps


def _sizes(
    target: PerRole[int],
    engines: Sequence[EngineView],
    replicas_by_pool: Mapping[str, int],
    limits: Limits | None,
    leaving: Collection[str],
) -> dict[str, int]:
    """Engines that each pool shall have for now."""
    sizes = {pool: _size(Pool(pool), target) for pool in replicas_by_pool if pool not in leaving}
    gone = [pool for pool in replicas_by_pool if pool in leaving]
    if not gone:
        return sizes
    alive = [engine for engine in engines if not engine.deleting]
    new = [engine for engine in alive if engine.pool.value in sizes]
    old = [e for e in alive if e.pool.value in leaving and e.state is not State.DRAINING]
    asked_for = sum(replicas_by_pool[pool] for pool in sizes)
    room = _room_for(replicas_by_pool, engines, limits)
    cramped = any(not engine.scheduled for engine in new) or (
        room is not None and room <= 0 and asked_for < sum(sizes.values())
    )
    busy = len(old) < sum(1 for e in engines if e.pool.value in leaving)  # one of them is on its way out
    kept = len(old) if busy and cramped else kept_by_leaving(target, new, old, cramped=cramped)
    return sizes | _shared_out(kept, gone, old)


def _shared_out(kept: int, pools: Sequence[str], old: Sequence[EngineView]) -> dict[str, int]:
    """`kept` engines over the leaving pools: taken from the fullest first, so that the last of a role goes last."""
    have = {pool: sum(1 for engine in old if engine.pool.value == pool) for pool in pools}
    for _ in range(len(old) - kept):
        have[max(have, key=lambda pool: have[pool])] -= 1
    return have


def _size(pool: Pool, target: PerRole[int]) -> int:
    return target.prefill + target.decode if pool is Pool.SHARED else target[Role(pool.value)]


def _pool_view(
    pool: Pool, size: int, split: PerRole[int], engines: Sequence[EngineView], replicas: int
) -> _PoolView:
    alive = [engine for engine in engines if engine.pool is pool and not engine.deleting]
    # A marked engine whose replica is already given up is as good as gone: its ReplicaSet is about to delete it.
    marked = sorted((e for e in alive if e.removing), key=lambda e: (e.drain_started_s or 0.0, e.name))
    gone = {engine.name for engine in marked[: max(0, len(alive) - replicas)]}
    kept = [engine for engine in alive if engine.name not in gone]
    return _PoolView(
        pool=pool,
        size=size,
        split=split,
        replicas=replicas,
        live=tuple(e for e in kept if e.state is not State.DRAINING),
        draining=tuple(e for e in kept if e.state is State.DRAINING),
    )


def _shrink(view: _PoolView, now_s: float, lease_s: float) -> list[Step]:
    """Removals of what has drained, then drains of what is too many."""
    steps: list[Step] = []
    if view.excess >= 0:
        steps += [step for engine in view.draining for step in _go_on_draining(engine, view, now_s, lease_s)]
    if view.excess <= 0:
        return steps
    # Replicas that have no pod yet go first: there is nothing to drain.
    without_pod = max(0, view.replicas - len(view.live) - len(view.draining))
    if without_pod:
        steps.append(ScaleTo({view.pool.value: view.replicas - min(view.excess, without_pod)}))
        return steps
    rolling = len({engine.revision for engine in (*view.live, *view.draining)}) > 1
    for victim in choose_victims(view.live, view.split, view.excess):
        if victim.ready:
            steps.append(StartDrain(victim.name))
        elif not rolling:  # else its Deployment would take one of the revision that has more: one that serves
            steps.append(Remove(victim.name, 0.0, timed_out=False))
    return steps


def _go_on_draining(engine: EngineView, view: _PoolView, now_s: float, lease_s: float) -> list[Step]:
    if engine.drain_started_s is None:  # the label is there, the time is not: begin again
        return [StartDrain(engine.name)]
    taken_s = now_s - engine.drain_started_s
    if drain_timed_out(engine, now_s, lease_s):
        return [Remove(engine.name, taken_s, timed_out=True)]
    if not engine.ready:
        return [Remove(engine.name, taken_s, timed_out=False)]
    # A ReplicaSet deletes pods that are not ready before it looks at the mark, so the victim is certain only while all
    # others are ready and of its own revision. Past the time-out a pod that serves nothing may go instead.
    others = (*view.live, *view.draining)
    certain = all(other.ready and other.revision == engine.revision for other in others)
    return (
        [Remove(engine.name, taken_s, timed_out=False)] if certain and drained(engine, now_s, lease_s) else []
    )


def _grow(pools: Sequence[_PoolView], room: int | None, limits: Limits | None) -> list[Step]:
    """Drains taken back, which is cheaper than a new engine, then replicas added as far as the budget has `room`.

    Where it does not hold all, the pool that has the least of its size comes first.
    """
    steps: list[Step] = []
    lacking = {view.pool: -view.excess for view in pools if view.excess < 0}
    for view in pools:
        back = sorted(view.draining, key=lambda e: (not e.ready, -(e.drain_started_s or 0.0), e.name))
        back = back[: lacking.get(view.pool, 0)]
        steps += [CancelDrain(engine.name) for engine in back]
        if back:
            lacking[view.pool] -= len(back)
    by_pool = {view.pool: view for view in pools}
    grown = {
        pool.value: by_pool[pool].replicas + n for pool, n in _added(lacking, by_pool, room, limits).items()
    }
    return [*steps, ScaleTo(grown)] if grown else steps


def _added(
    lacking: Mapping[Pool, int], views: Mapping[Pool, _PoolView], room: int | None, limits: Limits | None
) -> dict[Pool, int]:
    """Engines to add to each pool."""
    if room is None or limits is None:
        return {pool: count for pool, count in lacking.items() if count}
    added: Counter[Pool] = Counter()

    def have(pool: Pool) -> float:
        return (views[pool].size - lacking[pool] + added[pool]) / views[pool].size

    while open_ := [p for p in lacking if added[p] < lacking[p] and cost_of(p, limits) <= room]:
        pool = min(open_, key=have)
        added[pool] += 1
        room -= cost_of(pool, limits)
    return dict(added)


def _room(pools: Sequence[_PoolView], engines: Sequence[EngineView], limits: Limits | None) -> int | None:
    return _room_for({view.pool.value: view.replicas for view in pools}, engines, limits)


def _room_for(
    replicas: Mapping[str, int], engines: Sequence[EngineView], limits: Limits | None
) -> int | None:
    """What the budget has left; None without one. Pods beyond a pool's replicas hold theirs until they are gone."""
    if limits is None or limits.budget is None:
        return None
    pods = Counter(engine.pool for engine in engines)
    held = {Pool(name): max(count, pods[Pool(name)]) for name, count in replicas.items()}
    return limits.budget - sum(count * cost_of(pool, limits) for pool, count in held.items())


def _roles(pool: Pool, target: PerRole[int], staying: Sequence[EngineView], now_s: float) -> list[Step]:
    """Roles for engines that became ready and for those that change; flips that are through."""
    wanted = assign_roles(target, staying) if pool is Pool.SHARED else _fixed_roles(pool, staying)
    steps: list[Step] = []
    for engine in staying:
        role = wanted.get(engine.name)
        if role is not None and (engine.role is not role or engine.state is State.WARMING):
            steps.append(SetRole(engine.name, role, flip=engine.role is _other(role)))
        elif engine.flip_started_s is not None:
            steps += _flip_result(engine, engine.flip_started_s, now_s)
    return steps


def _fixed_roles(pool: Pool, staying: Iterable[EngineView]) -> dict[str, Role]:
    return {engine.name: Role(pool.value) for engine in staying if engine.usable}


def _flip_result(engine: EngineView, started_s: float, now_s: float) -> list[Step]:
    """A flip is through when every router uses the engine in its new role and nothing of the old one is left on it."""
    taken_s = now_s - started_s
    if engine.routed_role is engine.role and _nothing_left(engine, _other(engine.role), taken_s):
        return [ConfirmFlip(engine.name, engine.role, taken_s, timed_out=False)]
    if taken_s >= defaults.FLIP_TIMEOUT_S:
        return [ConfirmFlip(engine.name, engine.role, taken_s, timed_out=True)]
    return []


def _nothing_left(engine: EngineView, old_role: Role, since_s: float) -> bool:
    """Whether a reading younger than `since_s` shows no request in the old role."""
    reading = engine.outstanding
    return isinstance(reading, Value) and reading.age_s <= since_s and reading.x[old_role] == 0


def _other(role: Role) -> Role:
    return Role.DECODE if role is Role.PREFILL else Role.PREFILL
