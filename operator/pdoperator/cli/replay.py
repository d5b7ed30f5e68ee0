"""pdctl replay: a trace through simulated engines, policy by policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from pdoperator.api import defaults
from pdoperator.api.values import ratio_text
from pdoperator.capacity.profile import Profile
from pdoperator.cli.output import emit, number, output_option
from pdoperator.cli.profile_files import ProfileType
from pdoperator.cli.quantities import Duration, NotNegative
from pdoperator.cli.size import LONGEST_TPOT_S, LONGEST_TTFT_S
from pdoperator.sim.first_fleet import mm1_fleet, shrunk
from pdoperator.sim.policies.catalogue import PolicyNameError, check
from pdoperator.sim.policies.dynamo.process import PlannerMissingError
from pdoperator.sim.report.page import write_report
from pdoperator.sim.runs import Run, Runs, Unattained
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.traffic.loaders import load
from pdoperator.sim.traffic.trace import Trace, TraceError

STARTUP_S = 120.0  # where neither the option nor the profile tells
LOWER_BOUND = "clairvoyant"
ROOM = 4  # engines at most, as a multiple of the first fleet, where there is no budget
LEAST_ROOM = 16
POLICY_WIDTH = 16  # columns: the figures beside it still fit into 120
HEADINGS = (
    "seed",
    "attained",
    "TTFT s",
    "TPOT ms",
    "req/s/GPU",
    "GPU-h",
    "×bound",
    "flips",
    "scaled",
    "failed",
)


class TraceType(click.ParamType[Trace]):
    """A trace file."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Trace:
        """The trace; fails with the line and what is wrong there."""
        if isinstance(value, Trace):
            return value
        try:
            return load(value)
        except TraceError as error:
            self.fail(str(error), param, ctx)


class PoliciesType(click.ParamType[list[str]]):
    """Names of policies, separated by commas."""

    name = "name,name,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """The names; fails with the near ones for a name that does not exist."""
        names = [name.strip() for name in str(value).split(",")]
        try:
            for name in names:
                check(name)
        except PolicyNameError as error:
            self.fail(str(error), param, ctx)
        return list(dict.fromkeys(names))


def _in_a_folder(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """A replay may take an hour: what would fail at its end fails here."""
    if path is not None and not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(path.parent)!r}; make it first", ctx, param)
    return path


@click.command()
@click.argument("trace", type=TraceType())
@click.option("--profile", type=ProfileType(), required=True,
              help="What one engine can do: a built-in profile or a file.")  # fmt: skip
@click.option("--policy", "policies", type=PoliciesType(), default="static-best,hpa,dopd,adaptive", show_default=True,
              help="Policies to compare; options follow colons, as in static:3:5 or arrow:engines=9.")  # fmt: skip
@click.option("--ttft", type=Duration(LONGEST_TTFT_S), default=defaults.TTFT_TARGET, show_default=True,
              help="TTFT target.")  # fmt: skip
@click.option("--tpot", type=Duration(LONGEST_TPOT_S), default=defaults.TPOT_TARGET, show_default=True,
              help="TPOT target.")  # fmt: skip
@click.option("--percentile", type=click.IntRange(1, 99), default=defaults.PERCENTILE, show_default=True,
              help="Of the targets, for policies that plan for one.")  # fmt: skip
@click.option("--gpu-budget", type=click.IntRange(1), help="GPUs that all engines together may hold.")
@click.option("--startup-s", type=NotNegative(), help="Seconds from pod to ready engine.  "
              f"[default: the profile's, else {STARTUP_S:g}]")  # fmt: skip
@click.option("--seed", "seeds", type=click.IntRange(0), multiple=True, default=(0,), show_default=True,
              help="Of start-up times; give several for several runs each.")  # fmt: skip
@click.option(
    "--bound/--no-bound", default=True, show_default=True, help="Search for the clairvoyant bound too."
)
@click.option("--report", type=click.Path(dir_okay=False, writable=True, path_type=Path),
              callback=_in_a_folder, help="Write an HTML report here.")  # fmt: skip
@output_option
def replay(
    trace: Trace,
    profile: Profile,
    policies: list[str],
    ttft: float,
    tpot: float,
    percentile: int,
    gpu_budget: int | None,
    startup_s: float | None,
    seeds: tuple[int, ...],
    bound: bool,
    report: Path | None,
    output: str,
) -> None:
    """A trace through simulated engines, policy by policy, beside the lower bound.

    TRACE: CSV or CSV.gz with arrival_s, input_tokens, output_tokens; Azure's or BurstGPT's CSV; Mooncake's JSONL.
    """
    scenario = _scenario(trace, profile, ttft, tpot, gpu_budget, startup_s)
    names = [*policies, *([LOWER_BOUND] if bound and LOWER_BOUND not in policies else [])]
    try:
        with (
            _progress() as told,
            Runs(trace, scenario, tuple(dict.fromkeys(seeds)), percentile, told) as runs,
        ):
            found = dict(zip(names, runs.of(names), strict=True))
            simulated_rps = runs.simulated_rps
    except PlannerMissingError as error:
        raise click.ClickException(str(error)) from None
    compared = Compared(
        trace, scenario, [found[name] for name in policies], found.get(LOWER_BOUND), simulated_rps
    )
    emit(compared.document(), output, compared.table)
    if report is not None:
        try:
            write_report(report, trace, scenario, compared.runs, compared.bound)
        except OSError as error:
            raise click.ClickException(f"the report was not written: {error}") from None


def _scenario(
    trace: Trace,
    profile: Profile,
    ttft_s: float,
    tpot_s: float,
    gpu_budget: int | None,
    startup_s: float | None,
) -> Scenario:
    if startup_s is None:
        startup_s = STARTUP_S if profile.startup_s is None else profile.startup_s
    if not trace.span_s > 0:
        raise click.UsageError(f"trace {trace.name}: all requests arrive at the same instant")
    first = mm1_fleet(trace, profile, ttft_s, tpot_s)
    room = max(LEAST_ROOM, ROOM * (first.prefill + first.decode))
    if gpu_budget is not None:
        room = gpu_budget // profile.gpus_per_replica
        if room < 2:
            raise click.UsageError(
                f"--gpu-budget {gpu_budget} does not hold two engines of {profile.gpus_per_replica} GPUs, one to "
                "prefill and one to decode"
            )
        first = shrunk(first, room)
    return Scenario(profile, ttft_s, tpot_s, first, gpu_budget, startup_s, max_engines=room)


@dataclass(frozen=True, slots=True)
class Compared:
    """What was found; `bound` None: not asked for, or no setting attains."""

    trace: Trace
    scenario: Scenario
    outcomes: Sequence[list[Run] | Unattained]
    lower: list[Run] | Unattained | None
    simulated_rps: float

    @property
    def runs(self) -> list[Run]:
        """Of all policies and seeds, those of searches that found nothing left out."""
        return [run for outcome in self.outcomes if not isinstance(outcome, Unattained) for run in outcome]

    @property
    def bound(self) -> Run | None:
        """The bound with the first seed."""
        return self.lower[0] if isinstance(self.lower, list) else None

    def document(self) -> dict[str, Any]:
        """As `-o json` prints it."""
        return {
            "requests": len(self.trace),
            "first": ratio_text(self.scenario.first),
            "policies": [_row(run) for run in self.runs],
            "unattained": [outcome.policy for outcome in self.outcomes if isinstance(outcome, Unattained)],
            "lower_bound": None
            if self.bound is None
            else {key: _row(self.bound)[key] for key in ("setting", "gpu_hours", "attainment")},
            "simulated_rps": self.simulated_rps,
        }

    def table(self) -> RenderableType:
        """As people read it."""
        shown = [*self.runs, *([] if self.bound is None else [self.bound])]
        longest = max((len(run.policy) for run in shown), default=0)
        # Of a fixed width, so that long names fold and figures stay whole.
        table = Table(
            Column("policy", width=min(longest, POLICY_WIDTH), overflow="fold"),
            box=None,
            padding=(0, 1, 0, 0),
        )
        for heading in HEADINGS:
            table.add_column(heading, justify="right", no_wrap=True)
        for run in shown:
            table.add_row(*self._cells(run))
        found = dict.fromkeys(f"{run.policy} = {run.setting}" for run in shown if run.policy != run.setting)
        notes = ["TTFT and TPOT: p50/p90/p99; ✗: less than 99 % of what an empty system attains", "", *found]
        notes += [f"{o.policy}: no setting attains" for o in self.outcomes if isinstance(o, Unattained)]
        if isinstance(self.lower, Unattained):
            notes.append("no fleet attains, however large; there is no lower bound")
        return Group(table, "", *notes)

    def _cells(self, run: Run) -> list[str]:
        one, bound = run.summary, self.bound
        over = None if bound is None else one.gpu_hours / bound.summary.gpu_hours
        return [
            run.policy,
            f"{one.seed}",
            f"{one.attainment:.2%}{'' if one.attains else ' ✗'}",
            "/".join(number(x, 3) for x in (one.ttft_p50_s, one.ttft_p90_s, one.ttft_p99_s)),
            "/".join(number(x * 1e3, 3) for x in (one.tpot_p50_s, one.tpot_p90_s, one.tpot_p99_s)),
            number(one.goodput_rps_per_gpu, 3),
            number(one.gpu_hours),
            number(over, 3),
            f"{one.flips}",
            f"{one.scale_events}",
            f"{one.failed}",
        ]


def _row(run: Run) -> dict[str, Any]:
    fields = {name: getattr(run.summary, name) for name in run.summary.__dataclass_fields__}
    return {**fields, "policy": run.policy, "setting": run.setting}


@contextmanager
def _progress() -> Iterator[Any]:
    """A bar for each replay under way, on standard error; nothing where that is no terminal."""
    console = Console(stderr=True)
    bars: dict[tuple[str, int], TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def told(setting: str, seed: int, share: float) -> None:
            key = (setting, seed)
            if share >= 1:
                if key in bars:
                    progress.remove_task(bars.pop(key))
                return
            if key not in bars:
                bars[key] = progress.add_task(f"{setting} seed {seed}", total=1.0)
            progress.update(bars[key], completed=share)

        yield told
