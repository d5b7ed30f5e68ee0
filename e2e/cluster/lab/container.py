"""One container as a local process: started, probed, restarted with back-off, stopped with grace."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from cluster.lab.api import timestamp
from cluster.lab.environment import Unsupported, command_line, environment
from cluster.lab.probes import Judge, Probe, check, url_of
from cluster.lab.status import ContainerState, restart_wanted, terminated
from cluster.processes import Recorded, ended_with_parent

_BACKOFF_FIRST_S = 10.0
_BACKOFF_MOST_S = 300.0
_BACKOFF_FORGOTTEN_S = 600.0
_TAIL_BYTES = 2048
_TAIL_LINES = 80


class Backoff:
    """Kubernetes' own: the first restart at once, then after 10 s, 20 s, … 300 s; forgotten after ten good minutes."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def delay_s(self, ran_s: float) -> float:
        if ran_s >= _BACKOFF_FORGOTTEN_S:
            self._next_s = 0.0
        delay = self._next_s
        self._next_s = min(delay * 2, _BACKOFF_MOST_S) if delay else _BACKOFF_FIRST_S
        return delay


@dataclass(frozen=True)
class Surroundings:
    """What the containers of a pod share."""

    pod: Mapping[str, Any]
    address: str
    folder: Path  # the working directory and home
    logs: Path
    variables: Mapping[str, str]  # set in every container, before its own
    session: aiohttp.ClientSession
    read_config_maps: Callable[[Mapping[str, Any]], Any]  # container -> awaitable mapping name -> data
    changed: Callable[[], None]
    emit: Callable[[str, str, str], None]  # type, reason, message


class Container:
    def __init__(self, spec: Mapping[str, Any], around: Surroundings, restarts: int = 0) -> None:
        self.state = ContainerState(spec["name"], spec.get("image", ""), restarts=restarts)
        self._spec = spec
        self._around = around
        self._policy = around.pod["spec"].get("restartPolicy", "Always")
        self._grace_s = float(around.pod["spec"].get("terminationGracePeriodSeconds", 30))
        self._process: asyncio.subprocess.Process | None = None
        self._variables: dict[str, str] = {}
        self._stopping = asyncio.Event()
        self._killer: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Keep the container running as its restart policy says; returns when it will not run again."""
        backoff = Backoff()
        while not self._stopping.is_set():
            started = time.monotonic()
            exit_code = await self._run_once()
            if exit_code is not None:
                if self._stopping.is_set() or not restart_wanted(self._policy, exit_code):
                    self._around.changed()
                    return
                self.state.last_state = self.state.state
            delay = backoff.delay_s(time.monotonic() - started)
            if exit_code is None:
                delay = max(delay, _BACKOFF_FIRST_S)
            elif delay:
                self._wait_with("CrashLoopBackOff", self._backoff_text(delay))
                self._around.emit("Warning", "BackOff", self._backoff_text(delay))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay or 0.01)
            if exit_code is not None and not self._stopping.is_set():
                self.state.restarts += 1

    async def stop(self, grace_s: float) -> None:
        """End it: preStop, SIGTERM, and SIGKILL when `grace_s` is over."""
        self._stopping.set()
        if self._process is not None:
            await self._terminate(self._process, grace_s)

    async def _run_once(self) -> int | None:
        """Start the process and wait for its end: its exit code. None when it could not be started."""
        try:
            process = await self._start()
        except Unsupported as reason:
            self._refuse("CreateContainerConfigError", str(reason))
            return None
        except OSError as reason:
            self._refuse("RunContainerError", str(reason))
            return None
        started_at = timestamp()
        state = self.state
        state.state = {"running": {"startedAt": started_at}}
        state.has_run = True
        state.container_id = f"process://{process.pid}"
        state.started = "startupProbe" not in self._spec
        state.ready = state.started and "readinessProbe" not in self._spec
        self._around.changed()
        self._around.emit("Normal", "Started", f"Started container {state.name}")
        exit_code = await self._attend(process)
        message = self._message(exit_code)
        state.state = terminated(exit_code, started_at, timestamp(), state.container_id, message)
        state.started = state.ready = False
        self._around.changed()
        return exit_code

    async def _start(self) -> asyncio.subprocess.Process:
        around = self._around
        maps = await around.read_config_maps(self._spec)
        own = environment(self._spec, around.pod, around.address, maps.get)
        self._variables = {**around.variables, **own}
        command = command_line(self._spec, self._variables)
        if shutil.which(command[0], path=self._variables["PATH"]) is None:
            raise FileNotFoundError(
                f'command "{command[0]}" not found: the lab runs programs of this machine'
            )
        log = self._log()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *ended_with_parent(command),
                cwd=self._spec.get("workingDir") or around.folder,
                env=self._variables,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        record = around.folder / f"{self.state.name}.process.json"
        record.write_text(json.dumps(Recorded.of(process.pid).__dict__))
        return process

    async def _attend(self, process: asyncio.subprocess.Process) -> int:
        """Probe the running process until it ends."""
        self._process = process
        if self._stopping.is_set():  # asked to stop while it was being started
            self._killer = asyncio.create_task(self._terminate(process, self._grace_s))
        probing = asyncio.create_task(self._probe())
        try:
            exit_code = await process.wait()
        finally:
            self._process = None
            probing.cancel()
            # Nothing of a container outlives its first process.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return exit_code

    async def _probe(self) -> None:
        async with asyncio.TaskGroup() as group:
            if "startupProbe" in self._spec:
                await self._watch("startupProbe", verdict=False, until_success=True)
                self.state.started = True
                self.state.ready = "readinessProbe" not in self._spec
                self._around.changed()
            if "readinessProbe" in self._spec:
                group.create_task(self._watch("readinessProbe", verdict=False))
            if "livenessProbe" in self._spec:
                group.create_task(self._watch("livenessProbe", verdict=True))

    async def _watch(self, kind: str, *, verdict: bool, until_success: bool = False) -> None:
        try:
            probe = Probe.of(self._spec[kind], self._spec, self._around.address)
        except Unsupported as reason:
            self._around.emit("Warning", "Unsupported", f"{kind}: {reason}; taken as failing")
            return
        judge = Judge(probe, verdict)
        was_failing = False
        await asyncio.sleep(probe.initial_delay_s)
        while True:
            failure = await check(self._around.session, probe)
            if failure and not was_failing and self.state.started:
                self._around.emit(
                    "Warning", "Unhealthy", f"{kind.removesuffix('Probe').title()} probe failed: {failure}"
                )
            was_failing = failure is not None
            if judge.add(failure is None):
                if kind == "readinessProbe":
                    if self.state.ready != judge.verdict:
                        self.state.ready = judge.verdict
                        self._around.changed()
                elif judge.verdict and until_success:
                    return
                elif not judge.verdict:
                    self._replace(kind)
                    await asyncio.Event().wait()  # the end of the process ends this task
            await asyncio.sleep(probe.period_s)

    def _replace(self, kind: str) -> None:
        """Kill the process because of a probe; `run` then starts it again."""
        probe = kind.removesuffix("Probe")
        self._around.emit(
            "Normal", "Killing", f"Container {self.state.name} failed {probe} probe, will be restarted"
        )
        if self._process is not None:
            self._killer = asyncio.create_task(self._terminate(self._process, self._grace_s))

    async def _terminate(self, process: asyncio.subprocess.Process, grace_s: float) -> None:
        deadline = time.monotonic() + grace_s
        hook = (self._spec.get("lifecycle") or {}).get("preStop")
        if hook and grace_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._pre_stop(hook), grace_s)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(
                process.wait(), max(deadline - time.monotonic(), 0.0 if grace_s == 0 else 2.0)
            )
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def _pre_stop(self, hook: Mapping[str, Any]) -> None:
        try:
            if "sleep" in hook:
                await asyncio.sleep(hook["sleep"]["seconds"])
            elif "httpGet" in hook:
                url = url_of(hook["httpGet"], self._spec, self._around.address)
                async with self._around.session.get(url):
                    pass
            elif "exec" in hook:
                await self._exec(hook["exec"]["command"])
        except (OSError, aiohttp.ClientError, Unsupported) as reason:
            self._around.emit("Warning", "FailedPreStopHook", str(reason))

    async def _exec(self, command: list[str]) -> None:
        helper = await asyncio.create_subprocess_exec(
            *command,
            cwd=self._around.folder,
            env=self._variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            code = await helper.wait()
        except asyncio.CancelledError:
            helper.kill()
            raise
        if code != 0:
            self._around.emit("Warning", "FailedPreStopHook", f"{command[0]} ended with exit code {code}")

    def _refuse(self, reason: str, message: str) -> None:
        self._wait_with(reason, message)
        self._around.emit("Warning", "Failed", f"Error: {message}")

    def _wait_with(self, reason: str, message: str) -> None:
        self.state.state = {"waiting": {"reason": reason, "message": message}}
        self._around.changed()

    def _backoff_text(self, delay: float) -> str:
        metadata = self._around.pod["metadata"]
        pod = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
        return f"back-off {delay:.0f}s restarting failed container={self.state.name} pod={pod}"

    def _log(self) -> Path:
        return self._around.logs / self.state.name / f"{self.state.restarts}.log"

    def _message(self, exit_code: int) -> str:
        wanted = self._spec.get("terminationMessagePolicy") == "FallbackToLogsOnError" and exit_code != 0
        return tail(self._log()) if wanted else ""


def tail(log: Path) -> str:
    """The end of a log, as much of it as a termination message holds."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return "".join(file.read().decode(errors="replace").splitlines(keepends=True)[-_TAIL_LINES:])
