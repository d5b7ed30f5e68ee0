"""A reading is a Value with its age or a Missing with its reason: never a bare float, never 0 for unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from pdoperator.api.names import Role

T = TypeVar("T")
U = TypeVar("U")

SERVING_ROLES = (Role.PREFILL, Role.DECODE)


@dataclass(frozen=True, slots=True)
class Value(Generic[T]):
    """A reading and its age in seconds."""

    x: T
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Missing:
    """No reading, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class PerRole(Generic[T]):
    """One thing for each serving role, prefill first."""

    prefill: T
    decode: T

    def __getitem__(self, role: Role) -> T:
        if role is Role.PREFILL:
            return self.prefill
        if role is Role.DECODE:
            return self.decode
        raise KeyError(role)

    def items(self) -> Iterator[tuple[Role, T]]:
        """Pairs of role and thing."""
        return ((role, self[role]) for role in SERVING_ROLES)

    @staticmethod
    def of(make: Callable[[Role], U]) -> PerRole[U]:
        """One thing for each role, made by `make(role)`."""
        return PerRole(make(Role.PREFILL), make(Role.DECODE))


def total(counts: PerRole[int]) -> int:
    """Of both roles."""
    return counts.prefill + counts.decode


def ratio_text(counts: PerRole[int]) -> str:
    """Counts as people read them: prefill first, `3P:5D`."""
    return f"{counts.prefill}P:{counts.decode}D"
