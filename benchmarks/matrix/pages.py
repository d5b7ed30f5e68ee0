"""The pages of docs/results, written from the rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev

from matrix.rows import Answer, Cell
from matrix.workloads import WORKLOADS

# Two-sided 95 % of Student's t by degrees of freedom; with three seeds it is 4.3.
STUDENT = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
BOUND = "clairvoyant"


def write_pages(folder: Path, answers: Sequence[Answer]) -> None:
    """policies-table.md; the text around it is written by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policies-table.md").write_text(_policies(answers), encoding="utf-8")


def _policies(answers: Sequence[Answer]) -> str:
    parts = [
        "# Policies by trace, profile and targets\n\nWritten by benchmarks/policies.py.\n",
        _overview(answers),
    ]
    for cell, mine in _by_cell(answers).items():
        bound = _hours(mine.get(BOUND))
        parts.append(
            f"\n## {cell.name}\n\n{WORKLOADS[cell.trace].about}.\n\n| policy | setting | attains | attainment | GPU-h "
            "| × bound | flips | scalings |\n|---|---|---|---:|---:|---:|---:|---:|\n"
        )
        parts += [_line(answer, bound) for answer in sorted(mine.values(), key=_rank)]
    return "".join(parts)


def _line(answer: Answer, bound: float | None) -> str:
    if answer.setting is None:
        return f"| {answer.policy} | none attains | no | | | | | |\n"
    found = answer.summaries
    attains = sum(one.attains for one in found)
    over = "" if bound is None else f"{mean(one.gpu_hours for one in found) / bound:.2f}"
    setting = "" if answer.setting == answer.policy else f"`{answer.setting}`"
    attainment = _spread([100 * one.attainment for one in found], "%")
    return (
        f"| {answer.policy} | {setting} | {attains}/{len(found)} | {attainment} | "
        f"{_spread([one.gpu_hours for one in found])} | {over} | {mean(one.flips for one in found):.0f} | "
        f"{mean(one.scale_events for one in found):.0f} |\n"
    )


def _overview(answers: Sequence[Answer]) -> str:
    """Each policy over all cells: where it attains, and the geometric mean of its cost over the bound there."""
    cells = _by_cell(answers)
    lines = ["\n| policy | attains in | × bound there, geometric mean |\n|---|---:|---:|\n"]
    for policy in dict.fromkeys(answer.policy for answer in answers):
        there = [(cell, mine[policy]) for cell, mine in cells.items() if policy in mine]
        costs = [
            hours / bound
            for cell, answer in there
            if _attains(answer) and (hours := _hours(answer)) and (bound := _hours(cells[cell].get(BOUND)))
        ]
        worth = f"{math.exp(mean(map(math.log, costs))):.2f}" if costs else ""
        lines.append(f"| {policy} | {len(costs)} of {len(there)} | {worth} |\n")
    return "".join(lines)


def _by_cell(answers: Iterable[Answer]) -> dict[Cell, dict[str, Answer]]:
    cells: dict[Cell, dict[str, Answer]] = {}
    for answer in answers:
        cells.setdefault(answer.cell, {})[answer.policy] = answer
    return cells


def _attains(answer: Answer) -> bool:
    return bool(answer.summaries) and all(one.attains for one in answer.summaries)


def _hours(answer: Answer | None) -> float | None:
    return mean(one.gpu_hours for one in answer.summaries) if answer and answer.summaries else None


def _rank(answer: Answer) -> tuple[bool, float]:
    """Those that attain first, cheapest first."""
    return not _attains(answer), _hours(answer) or math.inf


def _spread(values: Sequence[float], unit: str = "") -> str:
    """Mean and the half width of its 95 % confidence interval."""
    if len(values) < 2:
        return f"{values[0]:.4g}{unit}"
    half = STUDENT.get(len(values) - 1, 1.96) * stdev(values) / math.sqrt(len(values))
    return f"{mean(values):.4g} ± {half:.2g}{unit}"
