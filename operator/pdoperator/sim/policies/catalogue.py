"""Policies by name: `static:3:5`, `dyn-load`, with options as in `arrow:engines=9` or `static:3:5:deferral=60`."""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from pdoperator.api import defaults
from pdoperator.api.values import PerRole
from pdoperator.sim.policies.builders import BOUNDS, BUILDERS, BY_FLEET
from pdoperator.sim.policies.grids import GRIDS
from pdoperator.sim.policies.policy import PolicyBase
from pdoperator.sim.policies.setting import Setting
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.traffic.trace import Trace

# Names that stand for the best of several settings, found by sim/search.py.
SEARCHED = (
    "static-best",
    "hybrid-best",
    "aggregated-best",
    "arrow-best",
    *(f"{name}-best" for name in GRIDS),
)

# Bounds have so many times the engines of others: their search begins at a fifth of full load, and engines that stop
# count until they have.
BOUND_ROOM = 6
MOST = {"percentile": 99.0, "quantile": 0.999}  # nobody can be sized for all requests, or for every load

Options = dict[str, PerRole[int] | float | bool]


class PolicyNameError(ValueError):
    """A policy or an option that does not exist; the message suggests what does."""


def check(name: str) -> None:
    """Raise PolicyNameError unless `name` is a policy; a searched one is."""
    if name not in SEARCHED:
        _parsed(name)


def prepare(
    name: str,
    trace: Trace,
    scenario: Scenario,
    percentile: int = defaults.PERCENTILE,
    before: Trace | None = None,
) -> tuple[PolicyBase, Scenario]:
    """A new policy by its full name, and the scenario it is replayed in: with the fleet that it starts from.

    `percentile` is that of the targets, for policies which plan for one.

    Bounds pay nothing for starts and flips and have no budget. `before`: traffic before the trace, for policies that
    read history; its last request comes just before the first of `trace`. Raises PolicyNameError.
    """
    builder, options = _parsed(name)
    policy = builder(Setting(name, trace, scenario, percentile, before), **options)
    scenario = replace(scenario, first=policy.target)
    if name.partition(":")[0] in BOUNDS:
        scenario = replace(
            scenario,
            startup_s=0.0,
            decode_startup_s=None,
            startup_cv=0.0,
            flip_s=0.0,
            gpu_budget=None,
            max_engines=BOUND_ROOM * scenario.max_engines,
        )
    return policy, scenario


def _parsed(name: str) -> tuple[Callable[..., PolicyBase], Options]:
    kind, _, text = name.partition(":")
    if kind not in BUILDERS:
        raise PolicyNameError(f"there is no policy {kind!r}{_near(kind, [*BUILDERS, *SEARCHED])}")
    builder = BUILDERS[kind]
    if kind not in BY_FLEET:
        return builder, _options(name, text, builder)
    fleet, text = _fleet(name, text)
    return builder, {"fleet": fleet, **_options(name, text, builder)}


def _fleet(name: str, text: str) -> tuple[PerRole[int], str]:
    """The fleet, and what follows it."""
    match = re.fullmatch(r"([1-9]\d{0,3}):([1-9]\d{0,3})(?::(.+))?", text)
    if match is None:
        raise PolicyNameError(f"{name!r} is not a fleet; write it like static:3:5, prefill first")
    return PerRole(int(match[1]), int(match[2])), match[3] or ""


def _options(name: str, text: str, builder: Callable[..., PolicyBase]) -> Options:
    """Options as `key=number`, or the name of a switch alone."""
    parameters = inspect.signature(builder).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    given: Options = {}
    for part in text.split(":") if text else ():
        key, equals, number = part.partition("=")
        option = key.replace("-", "_")
        if option not in defaults:
            known = [known.replace("_", "-") for known in defaults]
            raise PolicyNameError(f"{name!r} has no option {key!r}{_near(key, known)}")
        if isinstance(defaults[option], bool):
            if equals:
                raise PolicyNameError(f"{name!r}: {key} is a switch and takes no value")
            given[option] = True
        else:
            given[option] = _number(name, key, number)
    return given


def _number(name: str, key: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise PolicyNameError(f"{name!r}: {key} must be a number of 0 or more, as in {key}=1")
    if number > MOST.get(key, math.inf):
        raise PolicyNameError(f"{name!r}: {key} is at most {MOST[key]:g}")
    return number


def _near(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there are {', '.join(known)}" if known else "; it has none"
