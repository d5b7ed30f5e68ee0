"""The tables and the picture of docs/results/policies.md, written from the rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from statistics import mean, stdev

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from matrix.page import write_tables
from matrix.rows import Answer, Cell
from matrix.workloads import WORKLOADS
from pdoperator.sim.search import SMOOTHER

# Two-sided 95 % of Student's t by degrees of freedom; with three seeds it is 4.3.
STUDENT = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
CLAIRVOYANT = ("clairvoyant", SMOOTHER)  # the bound is the cheaper of those that attain
ABLATED = "adaptive:"  # and the part that is switched off
DRAWN = (
    "static-best", "hybrid-best", "aggregated-best", "hpa", "hpa-best", "mm1:interval=180", "adaptive",
    "adaptive:percentile=99",
)  # fmt: skip

WIDEST = 3.0  # times the bound; longer bars would leave the others no room

Cells = Mapping[Cell, Mapping[str, Answer]]


def write_page(docs: Path, answers: Sequence[Answer], ablations: Container[str], seeds: int) -> None:
    """Replace the tables in results/policies.md and draw images/policies.png; the text around is written by hand.

    `ablations`: policies that have a table of their own, Adaptive without a part.
    """
    ablated = [answer for answer in answers if answer.policy in ablations]
    cells = _by_cell(answer for answer in answers if answer not in ablated)
    tables = chain(_tables(cells, seeds), _ablations(_by_cell(ablated)))
    write_tables(docs / "results" / "policies.md", "policies.py", tables)
    _draw(
        docs / "images" / "policies.png",
        {cell: mine for cell, mine in cells.items() if cell == _base(cell, cells)},
    )


def _tables(cells: Cells, seeds: int) -> Iterator[str]:
    yield f"Seeds: {seeds}. ± is half the 95 % confidence interval of the mean (Student's t).\n"
    bases = [cell for cell in cells if cell == _base(cell, cells)]
    for targets in dict.fromkeys(cell.conditions for cell in bases):
        mine = {cell: cells[cell] for cell in bases if cell.conditions == targets}
        yield f"\n### {targets}\n"
        yield from _overview(mine)
        for cell, found in mine.items():
            yield from _policies(cell, found)
    for title, of, unit in (
        ("Start-up", lambda cell: cell.startup_s, "s"),
        ("Burstiness: how far users are moved apart", _spread_s, "s"),
    ):
        yield from _sweeps(title, of, unit, cells)


def _policies(cell: Cell, found: Mapping[str, Answer]) -> Iterator[str]:
    """All policies of a cell, those that attain first."""
    bound = _bound(found)
    some = next((one for answer in found.values() for one in answer.summaries), None)
    yield f"\n#### {cell.trace}, {cell.conditions}\n\n{WORKLOADS[cell.trace].about}{_cut(cell)}."
    if some is not None:
        yield f" Attainable: {some.attainable:.2%}."
    yield (
        "\n\n| policy | setting | attains | attainment | GPU-h | × bound | goodput, req/s/GPU | flips | scalings "
        "| settles within, P90 |\n|---|---|---|---:|---:|---:|---:|---:|---:|---:|\n"
    )
    for answer in sorted(found.values(), key=_rank):
        yield _line(answer, bound)


def _line(answer: Answer, bound: float | None) -> str:
    if answer.setting is None:
        return f"| {answer.policy} | none attains | no | | | | | | | |\n"
    found = answer.summaries
    over = "" if bound is None else f"{mean(one.gpu_hours for one in found) / bound:.2f}"
    setting = "" if answer.setting == answer.policy else f"`{answer.setting}`"
    settled = [one.settle_p90_s for one in found if one.settle_p90_s is not None]
    return (
        f"| {answer.policy} | {setting} | {_attaining(answer)} | {_attainment(answer)} | {_cost(answer)} | {over} | "
        f"{_spread([one.goodput_rps_per_gpu for one in found], 2)} | {mean(one.flips for one in found):.0f} | "
        f"{mean(one.scale_events for one in found):.0f} | {f'{mean(settled):.0f} s' if settled else ''} |\n"
    )


def _overview(cells: Cells) -> Iterator[str]:
    """Each policy over the cells: where it attains, and the geometric mean of its cost over the bound there."""
    yield "\n| policy | attains on | × bound there, geometric mean | × bound on all |\n|---|---:|---:|---:|\n"
    for policy in dict.fromkeys(policy for mine in cells.values() for policy in mine):
        there = [(cell, mine[policy]) for cell, mine in cells.items() if policy in mine]
        costs = {
            cell: hours / bound
            for cell, answer in there
            if (hours := _hours(answer)) and (bound := _bound(cells[cell]))
        }
        attained = [cost for cell, cost in costs.items() if _attains(cells[cell][policy])]
        count = sum(_attains(answer) for _, answer in there)
        yield f"| {policy} | {count} of {len(there)} | {_geometric(attained)} | {_geometric(costs.values())} |\n"


def _sweeps(title: str, of: Callable[[Cell], float], unit: str, cells: Cells) -> Iterator[str]:
    """For each base cell that varies in one value only: GPU-hours by policy and value, and where it attains."""
    for base in (cell for cell in cells if cell == _base(cell, cells)):
        varied = sorted(
            (cell for cell in cells if _base(cell, cells) == base and (cell == base or of(cell) != of(base))),
            key=of,
        )
        if len(varied) < 2:
            continue
        swept = cells[varied[0] if varied[0] != base else varied[1]]
        yield f"\n### {title}: {base.trace}, {base.conditions}\n\nGPU-hours (attainment).\n\n"
        yield f"| policy | {' | '.join(f'{of(cell):g} {unit}' for cell in varied)} |\n|---{'|---:' * len(varied)}|\n"
        for policy in swept:
            yield f"| {policy} | {' | '.join(_brief(cells[cell].get(policy)) for cell in varied)} |\n"


def _ablations(cells: Cells) -> Iterator[str]:
    """Parts of Adaptive by cell."""
    if not cells:
        return
    yield "\n### Adaptive without a part\n\nGPU-hours (attainment).\n\n"
    yield f"| adaptive | {' | '.join(f'{cell.trace}, {cell.conditions}' for cell in cells)} |\n"
    yield f"|---{'|---:' * len(cells)}|\n"
    for policy in dict.fromkeys(policy for mine in cells.values() for policy in mine):
        found = " | ".join(_brief(mine.get(policy)) for mine in cells.values())
        yield f"| {policy.removeprefix(ABLATED)} | {found} |\n"


def _brief(answer: Answer | None) -> str:
    if answer is None or answer.setting is None:
        return "none attains" if answer else ""
    missed = "" if _attains(answer) else f", {_attaining(answer)}"
    return f"{_cost(answer)} ({_attainment(answer)}{missed})"


def _draw(path: Path, cells: Cells) -> None:
    """Traces by profile and targets, a panel a cell: GPU-hours over the bound, pale where not every seed attains."""
    chosen = {cell: mine for cell, mine in cells.items() if _bound(mine)}
    rows = list(dict.fromkeys(cell.trace for cell in chosen))
    columns = list(dict.fromkeys(cell.conditions for cell in chosen))
    figure, panels = plt.subplots(
        len(rows),
        len(columns),
        figsize=(3 + 3.6 * len(columns), 0.6 + 1.5 * len(rows)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    first = {cell.trace: columns.index(cell.conditions) for cell in reversed(chosen)}
    lowest = {cell.conditions: rows.index(cell.trace) for cell in chosen}
    for panel in panels.flat:
        panel.set_visible(False)
    for cell, mine in chosen.items():
        row, column = rows.index(cell.trace), columns.index(cell.conditions)
        _draw_cell(panels[row, column], f"{cell.trace}, {cell.conditions}", mine)
        panels[row, column].tick_params(
            labelleft=column == first[cell.trace], labelbottom=row == lowest[cell.conditions]
        )
    figure.supxlabel(
        f"GPU-hours over {CLAIRVOYANT[0]}; pale: does not attain with every seed", fontsize="small"
    )
    figure.tight_layout()
    figure.savefig(path, dpi=90, bbox_inches="tight")
    plt.close(figure)


def _draw_cell(panel: Axes, title: str, mine: Mapping[str, Answer]) -> None:
    """One panel; a bar too long for it ends at its edge, its label says how long it is."""
    found = {name: answer for name in DRAWN if (answer := mine.get(name)) and answer.summaries}
    costs = [(_hours(found[name]) or 0.0) / (_bound(mine) or 1.0) if name in found else 0.0 for name in DRAWN]
    colours = ["#2b6cb0" if name in found and _attains(found[name]) else "#cbd5e0" for name in DRAWN]
    panel.barh(DRAWN[::-1], [min(cost, WIDEST) for cost in costs[::-1]], color=colours[::-1])
    for place, (name, cost) in enumerate(zip(DRAWN[::-1], costs[::-1], strict=True)):
        label = f"{cost:.2f} ({_attainment(found[name])})" if name in found else "not in this cell"
        panel.text(min(cost, WIDEST) + 0.05, place, label, fontsize=6, va="center")
    panel.set_title(title, fontsize=6, loc="left")
    panel.tick_params(labelsize=7)
    panel.set_xlim(0, 1.7 * WIDEST)
    panel.set_visible(True)


def _by_cell(answers: Iterable[Answer]) -> dict[Cell, dict[str, Answer]]:
    cells: dict[Cell, dict[str, Answer]] = {}
    for answer in answers:
        cells.setdefault(answer.cell, {})[answer.policy] = answer
    return cells


def _base(cell: Cell, cells: Iterable[Cell]) -> Cell:
    """The first cell of the same trace, profile, targets and part: the one that sweeps vary."""
    plain = replace(cell, startup_s=0.0, spread_s=None)
    return next(one for one in cells if replace(one, startup_s=0.0, spread_s=None) == plain)


def _spread_s(cell: Cell) -> float:
    return WORKLOADS[cell.trace].spread_s if cell.spread_s is None else cell.spread_s


def _cut(cell: Cell) -> str:
    return (
        ""
        if math.isinf(cell.busiest_s)
        else f"; the busiest {cell.busiest_s / 3600:g} h of it, without the days before"
    )


def _attains(answer: Answer) -> bool:
    return bool(answer.summaries) and all(one.attains for one in answer.summaries)


def _attaining(answer: Answer) -> str:
    return f"{sum(one.attains for one in answer.summaries)}/{len(answer.summaries)}"


def _attainment(answer: Answer) -> str:
    return _spread([100 * one.attainment for one in answer.summaries], 2) + " %"


def _cost(answer: Answer) -> str:
    return _spread([one.gpu_hours for one in answer.summaries], 1)


def _bound(found: Mapping[str, Answer]) -> float | None:
    """GPU-hours of the clairvoyant bound; None where it was not searched for, or attains with no load."""
    return min(filter(None, (_hours(found.get(name)) for name in CLAIRVOYANT)), default=None)


def _hours(answer: Answer | None) -> float | None:
    return mean(one.gpu_hours for one in answer.summaries) if answer and answer.summaries else None


def _rank(answer: Answer) -> tuple[bool, float]:
    """Those that attain first, cheapest first."""
    return not _attains(answer), _hours(answer) or math.inf


def _geometric(costs: Iterable[float]) -> str:
    logs = [math.log(cost) for cost in costs]
    return f"{math.exp(mean(logs)):.2f}" if logs else ""


def _spread(values: Sequence[float], decimals: int) -> str:
    """Mean and the half width of its 95 % confidence interval."""
    if len(values) < 2:
        return f"{values[0]:.{decimals}f}"
    half = STUDENT.get(len(values) - 1, 1.96) * stdev(values) / math.sqrt(len(values))
    return f"{mean(values):.{decimals}f} ± {half:.{decimals}f}"
