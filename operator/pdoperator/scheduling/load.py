"""What each engine has to do for us now. The one thing here that changes; it belongs to one router process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pdoperator.api.names import Role


@dataclass(slots=True)
class _Entry:
    prefill: int = 0
    decode: int = 0
    exports: int = 0
    turn: int = 0  # when it was last given a request, counted in requests
    shunned_until_s: float = float("-inf")


class Load:
    """Outstanding requests by engine and role, whose turn it was, and who failed a moment ago."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._turns = 0

    def acquire(self, engine: str, role: Role) -> None:
        """Count a request handed to `engine`; `role` is what it is used for, prefill or decode."""
        entry = self._entry(engine)
        self._turns += 1
        entry.turn = self._turns
        if role is Role.PREFILL:
            entry.prefill += 1
        else:
            entry.decode += 1

    def release(self, engine: str, role: Role) -> None:
        """Count it as finished. Each acquire is released exactly once, in the role it was acquired in."""
        entry = self._entry(engine)
        if role is Role.PREFILL:
            entry.prefill -= 1
        else:
            entry.decode -= 1

    def export(self, engine: str) -> None:
        """Count a prefill that `engine` has finished: it keeps the KV until a decode engine has taken it."""
        self._entry(engine).exports += 1

    def taken(self, engine: str) -> None:
        """Count it as taken, or as not wanted any more. Once for each export."""
        self._entry(engine).exports -= 1

    def exports(self, engine: str) -> int:
        """Prefills whose KV the engine keeps for us."""
        entry = self._entries.get(engine)
        return 0 if entry is None else entry.exports

    def shun(self, engine: str, until_s: float) -> None:
        """Prefer others to `engine` until then: what fails at once always looks least busy."""
        self._entry(engine).shunned_until_s = until_s

    def shunned(self, engine: str, now_s: float) -> bool:
        """Whether it is to be avoided now."""
        entry = self._entries.get(engine)
        return entry is not None and entry.shunned_until_s > now_s

    def rank(self, engine: str) -> tuple[int, int]:
        """Smaller is picked first: outstanding requests in both roles, then whose turn is longest ago."""
        entry = self._entries.get(engine)
        return (0, 0) if entry is None else (entry.prefill + entry.decode, entry.turn)

    def outstanding(self, engine: str) -> dict[Role, int]:
        """Requests outstanding on it, by the role it is used in."""
        entry = self._entries.get(engine, _Entry())
        return {Role.PREFILL: entry.prefill, Role.DECODE: entry.decode}

    def engines(self) -> list[str]:
        """Names of all engines it keeps an account of."""
        return list(self._entries)

    def keep(self, engines: Iterable[str]) -> None:
        """Forget the engines not named, but for those that still have a request."""
        named = set(engines)
        self._entries = {
            name: entry
            for name, entry in self._entries.items()
            if name in named or entry.prefill or entry.decode or entry.exports
        }

    def _entry(self, engine: str) -> _Entry:
        entry = self._entries.get(engine)
        if entry is None:
            entry = self._entries[engine] = _Entry()
        return entry


class Rotation:
    """Smooth weighted round robin (nginx's): shares turns in proportion to weight, as evenly spread as can be."""

    def __init__(self) -> None:
        self._credit: dict[str, int] = {}

    def next(self, weights: dict[str, int]) -> str:
        """Whose turn it is among `weights` (not empty, all positive)."""
        credit = {name: self._credit.get(name, 0) + weight for name, weight in weights.items()}
        chosen = max(credit, key=lambda name: (credit[name], name))
        credit[chosen] -= sum(weights.values())
        self._credit = credit
        return chosen
