"""Long-running processes that outlive the command that started them: recorded, found again, ended for good."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Below the kernel's own range for outgoing connections and below Kubernetes' for NodePorts.
_SERVER_PORTS = range(20000, 30000)


class StartFailed(RuntimeError):
    """A process ended or did not become ready in time; the text holds the tail of its log."""


@dataclass(frozen=True)
class Recorded:
    """A process id together with its start time, so that a later process of the same id is never taken for it."""

    pid: int
    started: int  # clock ticks after boot, field 22 of /proc/<pid>/stat

    @staticmethod
    def of(pid: int) -> Recorded:
        return Recorded(pid, _start_time(pid) or 0)

    def alive(self) -> bool:
        return _start_time(self.pid) == self.started

    def end(self, grace_s: float = 10.0) -> None:
        """SIGTERM, then SIGKILL to its whole group after `grace_s`; returns when it is gone."""
        for number, limit in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
            if not self.alive():
                return
            try:
                if number == signal.SIGKILL and os.getpgid(self.pid) == self.pid:
                    os.killpg(self.pid, number)
                else:
                    os.kill(self.pid, number)
            except ProcessLookupError:
                return
            wait_until(lambda: not self.alive(), limit)


@dataclass(frozen=True)
class Processes:
    """The named processes of one state folder: `run/NAME.json` says who runs, `logs/NAME.log` what it said."""

    folder: Path

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def running(self, name: str) -> Recorded | None:
        record = self._record(name)
        if not record.exists():
            return None
        process = Recorded(**json.loads(record.read_text()))
        return process if process.alive() else None

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        with_parent: bool = False,
    ) -> Recorded:
        """Start it unless it runs. `with_parent`: it is killed when the starting process ends, however that ends."""
        already = self.running(name)
        if already:
            return already
        log = self.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        arguments = [str(part) for part in command]
        if with_parent:
            arguments = ended_with_parent(arguments)
        with log.open("ab") as out:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                start_new_session=True,
            )
        recorded = Recorded.of(process.pid)
        self._record(name).parent.mkdir(parents=True, exist_ok=True)
        self._record(name).write_text(json.dumps(recorded.__dict__))
        return recorded

    def stop(self, name: str, grace_s: float = 10.0) -> None:
        process = self.running(name)
        if process:
            process.end(grace_s)
        self._record(name).unlink(missing_ok=True)

    def wait_ready(self, name: str, ready: Callable[[], bool], limit_s: float) -> None:
        """Wait for `ready()`. Raises `StartFailed` when the process ends first, or after `limit_s`."""
        deadline = time.monotonic() + limit_s
        while not ready():
            if self.running(name) is None:
                raise StartFailed(f"{name} ended while it started; {self._tail(name)}")
            if time.monotonic() > deadline:
                raise StartFailed(f"{name} was not ready within {limit_s:.0f} s; {self._tail(name)}")
            time.sleep(0.1)

    def _record(self, name: str) -> Path:
        return self.folder / "run" / f"{name}.json"

    def _tail(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").splitlines()[-15:]
        return f"the end of {self.log(name)}:\n" + "\n".join(lines)


def ended_with_parent(command: list[str]) -> list[str]:
    """The command, so wrapped that the kernel kills it when the process that started it is gone."""
    setpriv = shutil.which("setpriv", path=f"{os.environ.get('PATH', '')}:/usr/bin:/bin")
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else command


def wait_until(condition: Callable[[], bool], limit_s: float, every_s: float = 0.05) -> bool:
    """Whether `condition()` came true within `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Ports nobody listens on now, all different, and none that the kernel gives to outgoing connections meanwhile."""
    drawn = random.sample(_SERVER_PORTS, len(_SERVER_PORTS))
    chosen = list(itertools.islice((port for port in drawn if port_free(port, address)), count))
    if len(chosen) < count:
        raise StartFailed(f"no {count} free ports on {address}")
    return chosen


def port_free(port: int, address: str = "127.0.0.1") -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((address, port))
        except OSError:
            return False
        return True


def _start_time(pid: int) -> int | None:
    """None for a process that is gone, or dead and only waiting for its parent to notice."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may hold anything: what follows the last bracket is regular.
    fields = text.rpartition(")")[2].split()
    if fields[0] == "Z":
        _reap(pid)
        return None
    return int(fields[19])


def _reap(pid: int) -> None:
    with contextlib.suppress(
        ChildProcessError
    ):  # the child of another process is its own parent's to collect
        os.waitpid(pid, os.WNOHANG)
