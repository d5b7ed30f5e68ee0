"""Named, timed steps: shown while they run, and kept for a report."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

_HEARTBEAT_S = 30.0


@dataclass(frozen=True)
class Step:
    name: str
    seconds: float


def spoken(seconds: float) -> str:
    """A duration as a person says it: `8 s`, `4 min 10 s`."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


@dataclass
class Steps:
    """Prints each step with its seconds; `records` holds the finished ones, in the order in which they began."""

    out: TextIO = field(default_factory=lambda: sys.stderr)
    records: list[Step] = field(default_factory=list)
    _depth: int = 0

    def say(self, text: str) -> None:
        print("    " * self._depth + text, file=self.out, flush=True)

    @contextmanager
    def step(self, name: str, expected_s: float | None = None) -> Iterator[None]:
        """Time the block. `expected_s`: what it takes on two shared cores, shown before it and as time left."""
        about = f" (about {spoken(expected_s)})" if expected_s and expected_s >= 5 else ""
        self.say(f"==> {name}{about}")
        place = len(self.records)
        self._depth += 1
        done = threading.Event()
        watcher = threading.Thread(target=self._heartbeat, args=(done, self._depth, expected_s), daemon=True)
        started = time.monotonic()
        watcher.start()
        try:
            yield
        except BaseException:
            self.say(f"failed after {spoken(time.monotonic() - started)}")
            raise
        else:
            seconds = time.monotonic() - started
            self.records.insert(place, Step(name, round(seconds, 2)))
            self.say(f"done in {seconds:.1f} s" if seconds < 60 else f"done in {spoken(seconds)}")
        finally:
            done.set()
            self._depth -= 1

    def _heartbeat(self, done: threading.Event, depth: int, expected_s: float | None) -> None:
        every = 1.0 if self.out.isatty() else _HEARTBEAT_S
        started = time.monotonic()
        while not done.wait(every):
            if self._depth != depth:
                continue  # a step within this one speaks
            passed = time.monotonic() - started
            left = f", about {spoken(expected_s - passed)} left" if expected_s and expected_s > passed else ""
            line = "    " * self._depth + f"... {spoken(passed)}{left}"
            if self.out.isatty():
                # One line that renews itself; the next print starts at its beginning and overwrites it.
                print(f"\x1b[2K{line}", end="\r", file=self.out, flush=True)
            else:
                print(line, file=self.out, flush=True)
