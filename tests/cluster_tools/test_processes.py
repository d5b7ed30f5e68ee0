from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from cluster.processes import Processes, Recorded, StartFailed
from cluster.steps import Steps, spoken

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


def test_a_second_start_finds_the_first_process(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    try:
        first = processes.start("x", SLEEP)
        assert Processes(tmp_path).start("x", SLEEP) == first
    finally:
        processes.stop("x")
    assert not first.alive()
    assert processes.running("x") is None


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    process = processes.start("x", STUBBORN)
    processes.wait_ready("x", lambda: "up" in processes.log("x").read_text(), 10)
    processes.stop("x", grace_s=0.2)
    assert not process.alive()


def test_another_process_of_the_same_id_is_never_taken_for_ours(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    try:
        process = processes.start("x", SLEEP)
        stale = {"pid": process.pid, "started": process.started - 1}
        (tmp_path / "run" / "x.json").write_text(json.dumps(stale))
        processes.stop("x")
        assert process.alive()
    finally:
        process.end()


def test_a_process_that_ends_while_it_starts_is_reported_with_its_last_words(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("x", [sys.executable, "-c", "raise SystemExit('port in use')"])
    with pytest.raises(StartFailed, match="port in use"):
        processes.wait_ready("x", lambda: False, 10)


def test_a_process_that_never_existed_is_not_alive() -> None:
    assert not Recorded(2**22 + 1, 1).alive()


def test_steps_are_recorded_in_the_order_in_which_they_began() -> None:
    steps = Steps(io.StringIO())
    with steps.step("outer"), steps.step("inner"):
        pass
    assert [step.name for step in steps.records] == ["outer", "inner"]


def test_a_failed_step_is_told_and_not_recorded() -> None:
    out = io.StringIO()
    steps = Steps(out)
    with pytest.raises(ValueError, match="no"), steps.step("bad"):
        raise ValueError("no")
    assert "failed after" in out.getvalue()
    assert steps.records == []


@pytest.mark.parametrize(("seconds", "text"), [(8.4, "8 s"), (59.6, "1 min 00 s"), (250, "4 min 10 s")])
def test_durations_are_spoken(seconds: float, text: str) -> None:
    assert spoken(seconds) == text
