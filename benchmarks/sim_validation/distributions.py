"""Draws what engines.py has measured: the share of requests within a latency, of the engines and of the simulator.

python benchmarks/sim_validation/distributions.py benchmarks/sim_validation/engines.json docs/images/sim-engines.png
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"engines": "#c0531c", "simulator": "#2b6cb0"}
LATENCIES = {"ttft_s": "TTFT, seconds", "tpot_s": "TPOT, seconds"}


def draw(rows: list[dict[str, Any]]) -> Figure:
    """One panel for each phase and latency."""
    phases = list(dict.fromkeys(row["phase"] for row in rows))
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    panels = figure.subplots(len(phases), len(LATENCIES), squeeze=False)
    for row in rows:
        _panel(panels[phases.index(row["phase"])][list(LATENCIES).index(row["latency"])], row)
    panels[0][0].legend(frameon=False)
    return figure


def _panel(axes: Axes, row: dict[str, Any]) -> None:
    for name, values in row["distribution"].items():
        axes.step(values, np.arange(1, len(values) + 1) / len(values), COLOURS[name], label=name)
    axes.set_title(f"{row['phase']}, {row['requests']} requests", fontsize=10)
    axes.set_xlabel(LATENCIES[row["latency"]])
    axes.set_ylabel("share of requests")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1)
    axes.grid(color="#e5e5e5")


@click.command()
@click.argument("measured", type=click.Path(exists=True, path_type=Path))
@click.argument("picture", type=click.Path(path_type=Path))
def main(measured: Path, picture: Path) -> None:
    """Draw MEASURED, the result of engines.py, as PICTURE (.png or .svg)."""
    draw(json.loads(measured.read_text())["rows"]).savefig(picture, dpi=100)


if __name__ == "__main__":
    main()
