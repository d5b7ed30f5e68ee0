"""What keeps a fleet from being one engine smaller: which target breaks, and which resource would mend it.

The fleet with one engine less is replayed as it is and once for each resource with a quarter more of it. A resource
that alone brings it back to what is asked for is what limits the fleet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

from matrix.rows import Answer, Bench, Cell, keep
from pdoperator.capacity.profile import Profile
from pdoperator.sim.metrics import ATTAINS_SHARE, summary
from pdoperator.sim.policies.catalogue import prepare
from pdoperator.sim.replay import Outcome, replay

# Above what one engine of five is worth, so that one resource can make up for it.
MORE = 1.25


def _compute(profile: Profile) -> Profile:
    return replace(profile, ttft=replace(profile.ttft, b=profile.ttft.b / MORE, c=profile.ttft.c / MORE))


def _bandwidth(profile: Profile) -> Profile:
    itl = profile.itl
    return replace(profile, itl=replace(itl, a=itl.a / MORE, b=itl.b / MORE, c=itl.c / MORE))


def _kv_memory(profile: Profile) -> Profile:
    return replace(profile, kv_tokens=int(profile.kv_tokens * MORE))


# Prompts cost compute; a decode step reads weights and KV.
RESOURCES: dict[str, Callable[[Profile], Profile]] = {
    "compute": _compute,
    "memory bandwidth": _bandwidth,
    "KV memory": _kv_memory,
}


@dataclass(frozen=True, slots=True)
class Limit:
    """A fleet without one engine of this kind (prefill, decode, engine).

    `ttft_missed`, `tpot_missed`: shares of requests that miss now and did not before; `attained`: of what is
    attainable; `with_more`: the same with a quarter more of each resource.
    """

    engine: str
    setting: str
    ttft_missed: float
    tpot_missed: float
    attained: float
    with_more: dict[str, float]

    @property
    def target(self) -> str:
        """The target that breaks first."""
        return "TTFT" if self.ttft_missed >= self.tpot_missed else "TPOT"

    @property
    def mended_by(self) -> tuple[str, ...]:
        """Resources of which a quarter more would do, the most helpful first; none where one alone does not."""
        enough = [name for name, attained in self.with_more.items() if attained >= ATTAINS_SHARE]
        return tuple(sorted(enough, key=lambda name: -self.with_more[name]))

    @property
    def helped_most_by(self) -> str:
        """The resource of which more helps most."""
        return max(self.with_more, key=self.with_more.__getitem__)


def limits(bench: Bench, answer: Answer) -> tuple[Limit, ...]:
    """One for each kind of engine that the fleet could have one less of; from disk where they are there."""
    if answer.setting is None:
        return ()
    return tuple(_limit(bench, answer.cell, answer.setting, *less) for less in _one_less(answer.setting))


def _one_less(setting: str) -> Iterator[tuple[str, str]]:
    kind, first, *rest = setting.split(":")
    if kind == "aggregated":
        engines = int(first.removeprefix("engines="))
        if engines > 1:
            yield "engine", ":".join((kind, f"engines={engines - 1}", *rest))
        return
    prefill, decode = int(first), int(rest[0])
    if prefill > 1:
        yield "prefill", f"{kind}:{prefill - 1}:{decode}"
    if decode > 1:
        yield "decode", f"{kind}:{prefill}:{decode - 1}"


def _limit(bench: Bench, cell: Cell, setting: str, engine: str, smaller: str) -> Limit:
    path = (
        bench.results / cell.name / f"limit {smaller.replace(':', '_')} of {setting.replace(':', '_')}.json"
    )
    if path.is_file():
        return Limit(**json.loads(path.read_text()))
    whole, without = _played(bench, cell, setting), _played(bench, cell, smaller)
    found = Limit(
        engine,
        smaller,
        _ttft_missed(without) - _ttft_missed(whole),
        _tpot_missed(without) - _tpot_missed(whole),
        _attained(bench, cell, without),
        {
            name: _attained(bench, cell, _played(bench, cell, smaller, more))
            for name, more in RESOURCES.items()
        },
    )
    keep(path, asdict(found))
    return found


def _played(
    bench: Bench, cell: Cell, setting: str, more: Callable[[Profile], Profile] | None = None
) -> Outcome:
    """With the first seed."""
    trace, scenario, _ = bench.stage(cell, bench.seeds[0])
    if more is not None:
        scenario = replace(scenario, profile=more(scenario.profile))
    policy, scenario = prepare(setting, trace, scenario)
    return replay(trace, scenario, policy)


def _attained(bench: Bench, cell: Cell, outcome: Outcome) -> float:
    return bench.share(cell, summary(outcome))


def _ttft_missed(outcome: Outcome) -> float:
    return float((np.nan_to_num(outcome.ttft_s, nan=np.inf) > outcome.scenario.ttft_s).mean())


def _tpot_missed(outcome: Outcome) -> float:
    return float((np.nan_to_num(outcome.tpot_s, nan=np.inf) > outcome.scenario.tpot_s).mean())
