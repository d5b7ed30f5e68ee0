"""The routing table: which engines there are, and which of them can serve together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pdoperator.api.names import Role, State


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine pod as last seen. `state` is None while the pod carries no state label."""

    name: str
    address: str  # host:port of its HTTP server; empty until the pod has an address
    role: Role
    state: State | None
    revision: str
    ready: bool
    deleting: bool = False

    @property
    def usable(self) -> bool:
        """Whether new requests may be given to it."""
        return self.ready and not self.deleting and self.state is not State.DRAINING and bool(self.address)


@dataclass(frozen=True, slots=True)
class Group:
    """The usable engines of one revision. No engine stands on both sides, so P is never equal to D."""

    revision: str
    prefill: tuple[Engine, ...]
    decode: tuple[Engine, ...]

    @property
    def complete(self) -> bool:
        """Whether it can serve disaggregated."""
        return bool(self.prefill and self.decode)

    @property
    def size(self) -> int:
        """Its engines, both sides."""
        return len(self.prefill) + len(self.decode)


@dataclass(frozen=True, slots=True)
class Table:
    """All engines known, and those usable in the groupings that a pick needs. Replaced whole, never changed."""

    engines: tuple[Engine, ...]
    groups: dict[str, Group]
    complete: tuple[Group, ...]
    aggregated: tuple[
        tuple[Engine, ...], ...
    ]  # by preference: decode engines, then those without role, then prefill

    @property
    def usable(self) -> bool:
        """Whether any engine can take a request."""
        return any(self.aggregated)

    @property
    def has_prefill(self) -> bool:
        """Whether any usable engine prefills."""
        return bool(self.aggregated[-1])


def build_table(engines: Iterable[Engine]) -> Table:
    """The table of `engines`; a name that occurs twice counts once, the last one."""
    known = {engine.name: engine for engine in engines}
    usable = [engine for engine in known.values() if engine.usable]
    groups = {
        revision: _group(revision, usable) for revision in sorted({engine.revision for engine in usable})
    }
    return Table(
        engines=tuple(known.values()),
        groups=groups,
        complete=tuple(group for group in groups.values() if group.complete),
        aggregated=tuple(_of_role(usable, role) for role in (Role.DECODE, Role.BOTH, Role.PREFILL)),
    )


def _group(revision: str, usable: list[Engine]) -> Group:
    """An engine without a role decodes where no engine of that role does."""
    mine = [engine for engine in usable if engine.revision == revision]
    return Group(
        revision, _of_role(mine, Role.PREFILL), _of_role(mine, Role.DECODE) or _of_role(mine, Role.BOTH)
    )


def _of_role(engines: list[Engine], role: Role) -> tuple[Engine, ...]:
    return tuple(engine for engine in engines if engine.role is role)


EMPTY = build_table(())
