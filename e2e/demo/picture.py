"""The timeline as a picture: load above, ready engines below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

PREFILL, DECODE = "#c2571a", "#2b6cb0"


def draw(report: dict[str, Any], path: Path) -> None:
    """Write the picture of a report's timeline as SVG or PNG, by the path's ending."""
    points = report["timeline"]
    times = [point["t_s"] for point in points]
    figure, (load, engines) = plt.subplots(2, 1, figsize=(9, 5.2), sharex=True, height_ratios=(3, 2))
    load.plot(times, [point["input_tokens_per_s"] for point in points], color=PREFILL, label="input tokens/s")
    load.plot(
        times, [point["output_tokens_per_s"] for point in points], color=DECODE, label="output tokens/s"
    )
    load.set_ylabel("tokens per second")
    load.set_ylim(
        0, 1.3 * max(max(point["input_tokens_per_s"], point["output_tokens_per_s"], 1.0) for point in points)
    )
    load.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), frameon=False, ncols=2, fontsize="small")
    for role, color in (("prefill", PREFILL), ("decode", DECODE)):
        ready = [point[role] for point in points]
        desired = [point[f"desired_{role}"] for point in points]
        engines.step(times, ready, where="post", color=color, linewidth=2, label=f"{role} ready")
        engines.step(
            times, desired, where="post", color=color, linewidth=1, linestyle=":", label=f"{role} desired"
        )
    engines.set_ylabel("engines")
    engines.set_xlabel("seconds of traffic")
    engines.set_ylim(
        0, max([point[role] for point in points for role in ("desired_prefill", "desired_decode")]) + 1.2
    )
    engines.yaxis.get_major_locator().set_params(integer=True)
    engines.legend(loc="upper left", frameon=False, ncols=4, fontsize="small")
    _phases(report["phases"], load, engines)
    sizes = (
        f"{report['cluster']['kind']}, {report['engine']} engines, {report['requests']['answered']} requests"
    )
    figure.suptitle(f"Prefill and decode engines follow the load ({sizes})", fontsize=11)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def _phases(phases: Sequence[dict[str, Any]], *axes: Any) -> None:
    start = 0.0
    for index, phase in enumerate(phases):
        end = start + phase["seconds"]
        for axis in axes:
            axis.axvspan(start, end, color="black", alpha=0.05 if index % 2 else 0.0, linewidth=0)
        text = f"{phase['name']}\n{phase['input_tokens']} in, {phase['output_tokens']} out"
        axes[0].text((start + end) / 2, 0.98, text, transform=axes[0].get_xaxis_transform(),
                     ha="center", va="top", fontsize="small")  # fmt: skip
        start = end
