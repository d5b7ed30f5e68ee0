"""How much memory a trace may take."""

from __future__ import annotations

from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USED = Path("/sys/fs/cgroup/memory.current")
MEMINFO = Path("/proc/meminfo")


def free_bytes() -> float:
    """Memory that can still be had by what Linux says, of the machine and of the container; infinite if unknown."""
    return min(_of_machine(), _of_container())


def _of_machine() -> float:
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return float("inf")
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kilobytes[0] * 1024.0 if kilobytes else float("inf")


def _of_container() -> float:
    try:
        return float(int(CGROUP_LIMIT.read_text()) - int(CGROUP_USED.read_text()))
    except (OSError, ValueError):  # no cgroup v2, or no limit ("max")
        return float("inf")
