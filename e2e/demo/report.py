"""What the demo found out: report.json, and its summary for people."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster.steps import Step
from demo.compare import Comparison
from demo.kubectl import Kubectl
from demo.timeline import Timeline
from demo.traffic import Answer, Phase

_FLIP = re.compile(r"^(?P<pod>\S+): \w+ to (?P<to>\w+) in (?P<seconds>[0-9.]+) s$")


def events(kubectl: Kubectl, service: str) -> list[dict[str, Any]]:
    """Events of the service, oldest first."""
    selector = f"involvedObject.kind=PDInferenceService,involvedObject.name={service}"
    items = kubectl.json("get", "events", "--field-selector", selector)["items"]
    items.sort(key=lambda item: item["firstTimestamp"])
    return [
        {"reason": item["reason"], "message": item["message"], "count": item.get("count", 1)}
        for item in items
    ]


def flips(listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Role flips, from their Events."""
    found = [_FLIP.match(each["message"]) for each in listed if each["reason"] == "RoleFlipped"]
    return [{"pod": m["pod"], "to": m["to"], "seconds": float(m["seconds"])} for m in found if m]


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 4) if ordered else None


def latencies(answers: Sequence[Answer]) -> dict[str, float | None]:
    """TTFT and TPOT as clients saw them, in seconds."""
    ttft = [answer.ttft_s for answer in answers if answer.ttft_s is not None]
    tpot = [answer.tpot_s for answer in answers if answer.tpot_s is not None]
    return {
        f"{name}_p{round(share * 100)}_s": percentile(values, share)
        for name, values in (("ttft", ttft), ("tpot", tpot))
        for share in (0.5, 0.9)
    }


def build(
    *,
    cluster: dict[str, str],
    engine: str,
    timeline: Timeline,
    phases: Sequence[Phase],
    comparison: Comparison,
    listed: list[dict[str, Any]],
    steps: Sequence[Step],
    warm: bool,
    machine: dict[str, Any],
) -> dict[str, Any]:
    """The report as plain data."""
    answers = timeline.traffic.answers
    failed = [answer for answer in answers if answer.error]
    return {
        "cluster": cluster,
        "engine": engine,
        "machine": machine,
        "requests": {"sent": len(answers), "answered": len(answers) - len(failed), "failed": len(failed)},
        "errors": sorted({answer.error for answer in failed}),
        "latencies": latencies(answers),
        "kv_tokens_transferred": round(sum(timeline.transferred.values())),
        "outputs": {"compared": comparison.compared, "equal": comparison.equal},
        "phases": followed(phases, timeline.traffic.began_s, timeline.as_json()),
        "timeline": timeline.as_json(),
        "events": listed,
        "flips": flips(listed),
        "steps": [{"name": step.name, "seconds": step.seconds} for step in steps],
        "warm": warm,
    }


def problems(report: dict[str, Any]) -> list[str]:
    """What the demo promises and did not show; empty when all is well."""
    found = []
    if report["requests"]["failed"] or not report["requests"]["sent"]:
        found.append(
            f"{report['requests']['failed']} of {report['requests']['sent']} requests failed: {report['errors']}"
        )
    if report["kv_tokens_transferred"] <= 0:
        found.append("no KV was transferred")
    if report["outputs"]["equal"] != report["outputs"]["compared"]:
        found.append(
            f"only {report['outputs']['equal']} of {report['outputs']['compared']} outputs were equal"
        )
    found += ratio_problems(report["phases"])
    return found


def ratio_problems(phases: Sequence[dict[str, Any]]) -> list[str]:
    """Phases in which the ready ratio never was on the side that their load calls for."""
    return [
        f"phase {phase['name']}: there were never more {phase['calls_for']} engines than others"
        for phase in phases
        if phase["followed_after_s"] is None
    ]


def followed(
    phases: Sequence[Phase], began_s: Sequence[float], timeline: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The phases as plain data, with the time from their beginning until the ready ratio was on their side."""
    listed = []
    for phase, began in zip(phases, began_s, strict=True):
        inside = (point for point in timeline if began <= point["t_s"] <= began + phase.seconds)
        first = next((point["t_s"] for point in inside if on_the_side_of(phase, point)), None)
        after = None if first is None else round(first - began, 1)
        listed.append(phase.as_json() | {"began_s": round(began, 1), "followed_after_s": after})
    return listed


def on_the_side_of(phase: Phase, point: dict[str, Any]) -> bool:
    """Whether more ready engines have the role that a phase calls for than the other."""
    more = point["prefill"] - point["decode"]
    return bool(more > 0 if phase.calls_for == "prefill" else more < 0)


def write(report: dict[str, Any], folder: Path) -> Path:
    """report.json in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    return path
