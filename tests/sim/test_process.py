"""The simulated engine as a process: the port opens after the start-up time, SIGTERM drains, a fault ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

ADDRESS = "127.0.67.1"
URL = f"http://{ADDRESS}:18000"
TRANSFER = '{"kv_connector":"NixlConnector","kv_role":"kv_both"}'


def ask(path: str, body: Any = None) -> tuple[int, bytes]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    env = {
        **os.environ,
        "PD_SIM_PROFILE": '{"ttft_s": [0.3], "itl_s": [0.01], "kv_tokens": 4096}',
        "PD_SIM_STARTUP_S": "0.5",
        "VLLM_NIXL_SIDE_CHANNEL_HOST": ADDRESS,
    }
    flags = [
        "--host",
        ADDRESS,
        "--port",
        "18000",
        "--shutdown-timeout",
        "10",
        "--kv-transfer-config",
        TRANSFER,
    ]
    started = time.monotonic()
    command = [sys.executable, "-m", "pdoperator.sim.engine.main", "serve", "/models/tiny", *flags]
    running = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    try:
        while time.monotonic() - started < 20:
            try:
                ask("/health")
                break
            except OSError:
                time.sleep(0.05)
        assert time.monotonic() - started >= 0.5
        yield running
    finally:
        running.kill()
        running.wait(10)


def test_sigterm_ends_it_after_a_drain(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_fault_fails_the_request_and_ends_the_process(process: subprocess.Popen[bytes]) -> None:
    body = {"prompt": [5], "max_tokens": 3, "kv_transfer_params": {"do_remote_prefill": True}}
    assert ask("/v1/completions", body)[0] == 500
    assert ask("/health")[0] == 503
    assert process.wait(10) == 1
