"""Which engine takes this step: the least busy of those that may, turns taken in rotation among equals.

The decode engine is picked when the prefill is done, not with it: by then queues have moved on, and so may roles.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pdoperator.scheduling.engines import Engine, Table
from pdoperator.scheduling.load import Load, Rotation

NONE: frozenset[str] = frozenset()


class Scheduler:
    """Picks from whatever table it is given; keeps the load and the rotation over revisions."""

    def __init__(self) -> None:
        self.load = Load()
        self._rotation = Rotation()

    def prefill(
        self, table: Table, now_s: float, revision: str | None = None, exclude: Collection[str] = NONE
    ) -> Engine | None:
        """A prefill engine of a revision that can also decode; of `revision` when given. None: serve aggregated.

        Revisions share the load by their number of engines.
        """
        groups = table.complete if revision is None else [g for g in table.complete if g.revision == revision]
        open_groups = {
            group.revision: (group, engines)
            for group in groups
            if (engines := self._open(group.prefill, now_s, exclude))
            and self._open(group.decode, now_s, NONE)
        }
        if not open_groups:
            return None
        if len(open_groups) == 1:
            chosen = next(iter(open_groups))
        else:
            chosen = self._rotation.next({name: group.size for name, (group, _) in open_groups.items()})
        return self._least(open_groups[chosen][1])

    def decode(self, table: Table, now_s: float, revision: str, exclude: Collection[str]) -> Engine | None:
        """A decode engine to continue a prefill of `revision`; `exclude` names at least the one that prefilled."""
        group = table.groups.get(revision)
        return None if group is None else self._least(self._open(group.decode, now_s, exclude))

    def aggregated(
        self, table: Table, now_s: float, exclude: Collection[str] = NONE, doubted: Collection[str] = NONE
    ) -> Engine | None:
        """An engine for both steps: one that decodes, else one without a role, else one that prefills.

        Engines in `doubted` come after the others of their kind; those that just failed come last of all, but before
        nothing at all.
        """
        tiers = [[engine for engine in tier if engine.name not in exclude] for tier in table.aggregated]
        for tier in tiers:
            if engines := self._open(tier, now_s, exclude):
                return self._least([e for e in engines if e.name not in doubted] or engines)
        return next((self._least(tier) for tier in tiers if tier), None)

    def _open(self, engines: Iterable[Engine], now_s: float, exclude: Collection[str]) -> list[Engine]:
        return [e for e in engines if e.name not in exclude and not self.load.shunned(e.name, now_s)]

    def _least(self, engines: list[Engine]) -> Engine | None:
        return min(engines, key=lambda engine: self.load.rank(engine.name), default=None)
