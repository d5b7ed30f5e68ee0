"""What belongs to a kind of machine: environment and placement of its engines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pdoperator.api.spec import Preset

_GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


@dataclass(frozen=True, slots=True)
class PresetSettings:
    """Additions to an engine pod."""

    env: dict[str, str] = field(default_factory=dict)
    pod: dict[str, Any] = field(default_factory=dict)


PRESETS = {
    # GH200: Grace is arm64, so the engine image must be the arm64 one; one Hopper GPU a node.
    Preset.GH200: PresetSettings(
        pod={"nodeSelector": {"kubernetes.io/arch": "arm64"}, "tolerations": [_GPU_TOLERATION]}
    ),
    Preset.H100: PresetSettings(pod={"tolerations": [_GPU_TOLERATION]}),
    # One process an engine and one thread: several engines share few cores (see docs/engines.md).
    Preset.CPU: PresetSettings(
        env={
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
        }
    ),
}
