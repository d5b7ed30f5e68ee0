"""The table and the picture of docs/results/modes.md, written from what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from matrix.limits import Limit
from matrix.page import write_tables
from matrix.rows import Answer, Cell
from pdoperator.sim.metrics import attainable
from pdoperator.sim.policies.work import request_work
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.traffic.trace import Trace

MODES = {"aggregated": "aggregated-best", "disaggregated": "static-best", "hybrid": "hybrid-best"}
COLOURS = {"aggregated": "#6b7280", "disaggregated": "#c2571a", "hybrid": "#2b6cb0"}
WIDTH = 0.27  # of a bar
MOST_NAMED = 2  # resources that would mend a fleet, the most helpful first


@dataclass(frozen=True, slots=True)
class Row:
    """A cell: by mode the setting that attains with fewest engines (None: none does) and what limits it.

    `busy`: engines that prefill and that decode would keep busy on average, by a model of work.
    """

    cell: Cell
    settings: Mapping[str, str | None]
    limits: Mapping[str, tuple[Limit, ...]]
    requests: int
    minutes: float
    attainable: float
    busy: tuple[float, float]

    @classmethod
    def of(
        cls,
        cell: Cell,
        answers: Mapping[str, Answer],
        found: Mapping[str, tuple[Limit, ...]],
        trace: Trace,
        scenario: Scenario,
    ) -> Row:
        """With figures of the trace of the first seed."""
        prefill_s, decode_s, _ = request_work(trace, scenario.profile, scenario.tpot_s)
        return cls(
            cell,
            {mode: answer.setting for mode, answer in answers.items()},
            found,
            len(trace),
            trace.span_s / 60,
            attainable(trace, scenario),
            (float(prefill_s.sum()) / trace.span_s, float(decode_s.sum()) / trace.span_s),
        )

    @property
    def sizes(self) -> dict[str, int | None]:
        """Engines by mode."""
        return {mode: _engines(setting) for mode, setting in self.settings.items()}

    @property
    def best(self) -> list[str]:
        """The modes with fewest engines."""
        sizes = {mode: size for mode, size in self.sizes.items() if size is not None}
        return [mode for mode, size in sizes.items() if size == min(sizes.values())]

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        limiting = {
            mode: [
                {"without": one.engine, "attained": round(one.attained, 4), "breaks": one.target,
                 "with_more": {name: round(share, 4) for name, share in one.with_more.items()}}
                for one in found
            ]
            for mode, found in self.limits.items()
        }  # fmt: skip
        return {
            "cell": self.cell.name,
            "settings": dict(self.settings),
            "engines": self.sizes,
            "limits": limiting,
        }


def write_page(docs: Path, rows: Sequence[Row], seeds: int, busiest_s: Mapping[str, float]) -> None:
    """Replace the tables in results/modes.md and draw images/modes.png; the text around them is written by hand."""
    write_tables(docs / "results" / "modes.md", "modes.py", _tables(rows, seeds, busiest_s))
    _draw(docs / "images" / "modes.png", rows)


def _tables(rows: Sequence[Row], seeds: int, busiest_s: Mapping[str, float]) -> Iterator[str]:
    yield (
        f"Seeds: {seeds}. {_cuts(busiest_s)}"
        "*Busy*: engines that prefill and decode would keep busy on average.\n"
    )
    for conditions, group in groupby(rows, key=lambda row: row.cell.conditions):
        yield (
            f"\n### {conditions}\n\n"
            "| trace | attainable | busy P + D | aggregated | disaggregated | hybrid "
            "| one aggregated less lacks | one prefill less | one decode less | one hybrid less |\n"
            "|---|---:|---:|---|---|---|---|---|---|---|\n"
        )
        for row in group:
            busy = " + ".join(f"{engines:.1f}" for engines in row.busy)
            sizes = " | ".join(_cell(row, mode) for mode in MODES)
            lacks = " | ".join(
                (
                    _lacks(row, "aggregated"),
                    *(_lacks(row, "disaggregated", role) for role in ("prefill", "decode")),
                    _lacks(row, "hybrid"),
                )
            )
            yield f"| {row.cell.trace} | {row.attainable:.1%} | {busy} | {sizes} | {lacks} |\n"


def _cuts(busiest_s: Mapping[str, float]) -> str:
    return "".join(f"Of {trace} the busiest {part_s / 60:g} minutes. " for trace, part_s in busiest_s.items())


def _cell(row: Row, mode: str) -> str:
    """`static:3:5` as 8 (3P:5D), bold where no mode needs fewer."""
    setting, size = row.settings[mode], row.sizes[mode]
    if setting is None:
        return "none attains"
    count = f"**{size}**" if mode in row.best else f"{size}"
    kind, *parts = setting.split(":")
    if kind == "aggregated":
        return f"{count} (chunk {parts[1].removeprefix('chunk=')})" if len(parts) > 1 else count
    return f"{count} ({parts[0]}P:{parts[1]}D)"


def _lacks(row: Row, mode: str, engine: str | None = None) -> str:
    """What the fleet with one engine less (of this kind) lacks: the target that breaks, and what would mend it."""
    found = [limit for limit in row.limits[mode] if engine in (None, limit.engine)]
    return ", ".join(dict.fromkeys(map(_lack, found)))


def _lack(limit: Limit) -> str:
    resources = limit.mended_by[:MOST_NAMED] or (f"{limit.helped_most_by} and more",)
    return f"{limit.target}: {' or '.join(resources)}"


def _engines(setting: str | None) -> int | None:
    if setting is None:
        return None
    kind, first, *rest = setting.split(":")
    return int(first.removeprefix("engines=")) if kind == "aggregated" else int(first) + int(rest[0])


def _draw(path: Path, rows: Sequence[Row]) -> None:
    """A panel for each profile and targets, a bar for each mode."""
    groups = [(key, list(group)) for key, group in groupby(rows, key=lambda row: row.cell.conditions)]
    traces = list(dict.fromkeys(row.cell.trace for row in rows))
    figure, panels = plt.subplots(
        len(groups), 1, figsize=(9, 2.0 * len(groups) + 0.7), sharex=True, squeeze=False
    )
    for (conditions, group), panel in zip(groups, panels[:, 0], strict=True):
        for place, mode in enumerate(MODES):
            sizes = [row.sizes[mode] or 0 for row in group]
            at = [traces.index(row.cell.trace) + (place - 1) * WIDTH for row in group]
            bars = panel.bar(at, sizes, WIDTH, color=COLOURS[mode], label=mode)
            panel.bar_label(bars, [str(size) if size else "none" for size in sizes], fontsize=7, padding=1)
        panel.set_title(conditions, fontsize="small", loc="left")
        panel.set_ylabel("engines")
        panel.margins(y=0.15)
        panel.set_xticks(range(len(traces)), traces, fontsize="small")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", frameon=False, ncols=len(MODES), fontsize="small")
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(path, dpi=110)
    plt.close(figure)
