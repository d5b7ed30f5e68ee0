"""Simulated engines inside the test's own event loop, each on a loopback address of its own, over real sockets."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest_asyncio
from aiohttp import web

from pdoperator.sim.engine.args import parse_config
from pdoperator.sim.engine.engine import Engine
from pdoperator.sim.engine.server import serve

PORT = 18000
SIDE_CHANNEL_PORT = 15600
addresses = (f"127.0.66.{number}" for number in itertools.cycle(range(1, 250)))

ASK_REMOTE_DECODE: dict[str, Any] = {"do_remote_decode": True, "do_remote_prefill": False}


class LiveEngine:
    """One served engine and a client for it."""

    def __init__(
        self, engine: Engine, runner: web.AppRunner, address: str, session: aiohttp.ClientSession
    ) -> None:
        self.engine, self.address = engine, address
        self._runner, self._session = runner, session

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self._session.get(f"http://{self.address}:{PORT}{path}", headers=headers) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        async with self._session.post(f"http://{self.address}:{PORT}{path}", json=body) as answer:
            return answer.status, await answer.json()

    async def stream(self, path: str, **body: Any) -> list[Any]:
        """The events of a streamed answer."""
        async with self._session.post(
            f"http://{self.address}:{PORT}{path}", json={**body, "stream": True}
        ) as answer:
            assert answer.content_type == "text/event-stream"
            text = await answer.text()
        parts = [part.removeprefix("data: ") for part in text.split("\n\n") if part]
        return [part if part == "[DONE]" else json.loads(part) for part in parts]

    async def generate(self, prompt: list[int], max_tokens: int = 12, **body: Any) -> list[int]:
        """The generated tokens of a request that must succeed."""
        fields = {"prompt": prompt, "max_tokens": max_tokens, "return_token_ids": True, **body}
        status, answer = await self.post("/v1/completions", **fields)
        assert status == 200, answer
        tokens: list[int] = answer["choices"][0]["token_ids"]
        return tokens

    async def prefill(self, prompt: list[int]) -> dict[str, Any]:
        """The kv_transfer_params that a decode request has to carry."""
        _, answer = await self.post(
            "/v1/completions", prompt=prompt, max_tokens=1, kv_transfer_params=ASK_REMOTE_DECODE
        )
        params: dict[str, Any] = answer["kv_transfer_params"]
        return params

    async def metric(self, name: str, **labels: str) -> float:
        """The value of ``vllm:<name>`` with these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        _, text = await self.get("/metrics")
        for line in text.splitlines():
            if line.startswith(f"vllm:{name}{{") and all(label in line for label in wanted):
                return float(line.rsplit(" ", 1)[1])
        raise KeyError(name)

    async def crash(self) -> None:
        """What SIGKILL does to its peers: connections reset, ports closed."""
        await self.engine.stop()
        await self._runner.cleanup()


StartEngine = Callable[..., Awaitable[LiveEngine]]


@pytest_asyncio.fixture
async def start_engine() -> AsyncIterator[StartEngine]:
    """``await start_engine(profile={...}, policy="recompute", lease_s=30, flags=[...])``"""
    live: list[LiveEngine] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:

        async def start(
            profile: dict[str, Any] | str = "instant",
            policy: str = "recompute",
            lease_s: float = 30.0,
            flags: tuple[str, ...] = (),
        ) -> LiveEngine:
            address = next(addresses)
            transfer = {
                "kv_connector": "NixlConnector",
                "kv_role": "kv_both",
                "kv_load_failure_policy": policy,
                "kv_connector_extra_config": {"kv_lease_duration": lease_s},
            }
            argv = [
                "serve",
                "/models/tiny",
                "--served-model-name",
                "tiny",
                "--host",
                address,
                "--port",
                str(PORT),
            ]
            argv += ["--kv-transfer-config", json.dumps(transfer), *flags]
            env = {
                "VLLM_NIXL_SIDE_CHANNEL_HOST": address,
                "VLLM_NIXL_SIDE_CHANNEL_PORT": str(SIDE_CHANNEL_PORT),
                "PD_SIM_PROFILE": profile if isinstance(profile, str) else json.dumps(profile),
            }
            config = parse_config(argv, env)
            engine = Engine(config)
            await engine.start()
            live.append(LiveEngine(engine, await serve(engine, config.host, config.port), address, session))
            return live[-1]

        yield start
        for one in live:
            await one.crash()


def prompt_of(count: int, seed: int = 0) -> list[int]:
    """``count`` token ids, another prompt for every seed."""
    return [(seed * 7919 + index * 31) % 1900 + 3 for index in range(count)]
