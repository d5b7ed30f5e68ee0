"""The simulator against real vLLM: one trace through 1P:1D over NIXL and our router, and through the simulator.

    PYTHONPATH=e2e python benchmarks/sim_validation/engines.py --json [--engine vllm|sim] [--minutes 10] [--to FILE]

Starts two engines on this machine, measures one with `pdctl profile` and the link between both by what NIXL counts,
then plays slices of Azure's traces of 2023 (`e2e/demo/traces`). All of it shares the machine: run it on one where
nothing else runs. `--engine sim` only shows that the script works: those engines are simulated as well. What it said
last is in engines.json, drawn by distributions.py, discussed in docs/simulator.md.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import click
import numpy as np
import uvloop
import yaml
from click.testing import CliRunner
from numpy.typing import NDArray

from demo.machine import describe
from demo.traffic import Answer, Phase, Traffic, from_trace, steady
from engine.run import EngineProcess, running_engines
from pdoperator.api.names import Role, State
from pdoperator.api.router_config import RouterConfig
from pdoperator.api.values import PerRole
from pdoperator.capacity.profile import Profile
from pdoperator.capacity.profile_document import parse
from pdoperator.cli.profile import profile as pdctl_profile
from pdoperator.router.app import Router
from pdoperator.router.fleet import Fleet
from pdoperator.router.main import quiet_gc, serve
from pdoperator.router.upstream import engine_session
from pdoperator.scheduling.engines import Engine
from pdoperator.signals.exposition import read_series, total
from pdoperator.sim.policies.catalogue import prepare
from pdoperator.sim.replay import replay
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.traffic.trace import Trace

MODEL = "small"  # the time of its steps is well above what HTTP and Python take
ENGINES = {Role.PREFILL: "127.0.0.11", Role.DECODE: "127.0.0.12"}
ROUTER_HOST, ROUTER_PORT = "127.0.0.13", 8000
MEMORY = ("--kv-cache-memory-bytes", "256M")
BATCHED_TOKENS = 2048  # vLLM's for its server on CPUs
KV_BYTES_PER_TOKEN = 16_384  # 8 layers, 4 KV heads of 64, keys and values, float32
TTFT_S, TPOT_S = 2.0, 0.2
PERCENTILES = (50, 90)
WITHIN = 0.20
TRANSFERRED = ("vllm:nixl_bytes_transferred_sum", "vllm:nixl_xfer_time_seconds_sum")


def phases(minutes: float) -> list[Phase]:
    """A conversation and a coding phase of half the time each, at rates that two shared cores can serve."""
    half_s = minutes * 30
    return [
        from_trace("conversation", "azure2023_conv", slice(0, max(8, round(half_s * 0.5))), half_s, "decode"),
        from_trace("code", "azure2023_code", slice(0, max(8, round(half_s * 0.35))), half_s, "prefill"),
    ]


async def _router() -> None:
    """Our router over both engines."""
    fleet = Fleet()
    fleet.config = RouterConfig(
        service="validation", served_name=MODEL, engine_port=0, connect_timeout_s=2.0, prefill_timeout_s=120.0,
        request_timeout_s=600.0, kv_lease_s=30.0, ttft_target_s=TTFT_S, tpot_target_s=TPOT_S,
    )  # fmt: skip
    fleet.set_engines(
        Engine(role.value, f"{address}:8000", role, State.SERVING, "r1", ready=True)
        for role, address in ENGINES.items()
    )
    quiet_gc()
    async with engine_session() as session:
        await serve(Router(fleet, session), ROUTER_HOST, ROUTER_PORT, linger_s=0.0)


@contextmanager
def _routed() -> Iterator[str]:
    process = multiprocessing.get_context("spawn").Process(target=_run_router, daemon=True)
    process.start()
    try:
        yield f"http://{ROUTER_HOST}:{ROUTER_PORT}"
    finally:
        process.terminate()
        process.join(10)


def _run_router() -> None:
    uvloop.run(_router())


def measured_profile(url: str, folder: Path) -> Profile:
    """What `pdctl profile` says of the engine. Raises RuntimeError with its message."""
    file = folder / "profile.yaml"
    command = [url, "--model", MODEL, "--to", str(file), "--batched-tokens", str(BATCHED_TOKENS)]
    result = CliRunner().invoke(pdctl_profile, [*command, "--kv-bytes-per-token", str(KV_BYTES_PER_TOKEN)])
    if result.exit_code:
        raise RuntimeError(f"pdctl profile failed: {result.output.strip()}")
    return parse(yaml.safe_load(file.read_text()))


async def _play(url: str, played: list[Phase]) -> list[Answer]:
    traffic = Traffic(url, MODEL)
    await traffic.run(played)
    return traffic.answers


async def link_bytes_per_s(url: str, decode_url: str) -> float | None:
    """Rate of the transfers that NIXL has timed for some requests; None where the engine counts none."""
    await _play(url, [steady("link", 20.0, 0.5, (1000, 2))])
    async with aiohttp.ClientSession() as session, session.get(f"{decode_url}/metrics") as answer:
        series = read_series(await answer.text(), TRANSFERRED)
    moved, seconds = (total(series, name) for name in TRANSFERRED)
    return moved / seconds if moved and seconds else None


def simulated(profile: Profile, played: list[Phase]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """TTFT and TPOT of the same requests in the simulator, in the order of arrival."""
    began_s = np.cumsum([0.0, *(phase.seconds for phase in played)])
    rows = [
        (begin_s + request.at_s, request.input_tokens, request.output_tokens)
        for begin_s, phase in zip(began_s, played, strict=False)
        for request in phase.requests
    ]
    arrival_s, isl, osl = np.array(rows).T
    trace = Trace.of("validation", arrival_s, isl.astype(np.int32), osl.astype(np.int32))
    policy, scenario = prepare("static:1:1", trace, Scenario(profile, TTFT_S, TPOT_S, PerRole(1, 1)))
    outcome = replay(trace, scenario, policy)
    return outcome.ttft_s, outcome.tpot_s


def compare(answers: list[Answer], profile: Profile, played: list[Phase]) -> list[dict[str, Any]]:
    """By phase and latency: percentiles of both sides, by how much the simulator is off, all values sorted."""
    ttft_s, tpot_s = simulated(profile, played)
    found, first = [], 0
    for phase in played:
        part = slice(first, first + len(phase.requests))
        first = part.stop
        several = [request.output_tokens > 1 for request in phase.requests]
        real = answers[part]
        for name, ours, theirs in (
            ("ttft_s", ttft_s[part], [a.ttft_s for a in real]),
            ("tpot_s", tpot_s[part][several], [a.tpot_s for a in real if a.tpot_s is not None]),
        ):
            measured = np.array([x for x in theirs if x is not None])
            row: dict[str, Any] = {"phase": phase.name, "latency": name, "requests": len(measured)}
            for percent in PERCENTILES:
                seen, expected = float(np.percentile(measured, percent)), float(np.percentile(ours, percent))
                row[f"p{percent}"] = {
                    "engines": round(seen, 4), "simulator": round(expected, 4), "off": round(expected / seen - 1, 3),
                }  # fmt: skip
            row["within"] = all(abs(row[f"p{percent}"]["off"]) <= WITHIN for percent in PERCENTILES)
            row["distribution"] = {
                "engines": sorted(round(float(x), 4) for x in measured),
                "simulator": sorted(round(float(x), 4) for x in ours),
            }
            found.append(row)
    return found


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As all benchmarks have it; the output is JSON anyway.")
@click.option("--engine", type=click.Choice(["vllm", "sim"]), default="vllm", show_default=True)
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--to", type=click.Path(path_type=Path), help="Also write the result there.")
def main(as_json: bool, engine: str, minutes: float, to: Path | None) -> None:
    """Run it; exit code 1 where a request failed or a percentile is off by more than a fifth."""
    played = phases(minutes)
    engines = [EngineProcess(address, engine, MODEL, MEMORY) for address in ENGINES.values()]
    prefill, decode = engines
    with tempfile.TemporaryDirectory() as folder, running_engines(engines, Path(folder)), _routed() as url:
        profile = measured_profile(prefill.url, Path(folder))
        link = asyncio.run(link_bytes_per_s(url, decode.url))
        profile = replace(profile, link_bytes_per_s=link)
        answers = asyncio.run(_play(url, played))
    errors = [answer.error for answer in answers if answer.error]
    rows = compare(answers, profile, played)
    result = {
        "engine": engine,
        "machine": describe(),
        "phases": [phase.as_json() for phase in played],
        "profile": {
            "ttft": [profile.ttft.a, profile.ttft.b, profile.ttft.c],
            "itl": [profile.itl.a, profile.itl.b, profile.itl.c],
            "pass_s": profile.pass_s,
            "link_bytes_per_s": link,
        },
        "errors": errors,
        "rows": rows,
    }
    text = json.dumps(result, indent=1)
    if to:
        to.write_text(text + "\n")
    print(text)
    sys.exit(1 if errors or not all(row["within"] for row in rows) else 0)


if __name__ == "__main__":
    main()
