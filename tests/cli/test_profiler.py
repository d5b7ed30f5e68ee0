"""The profiler finds the profile that a simulated engine was given; in virtual time, so that no noise is measured."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
import yaml
from aiohttp import web

from cli import virtual_time
from pdoperator.capacity import measurements, measuring, profile_document
from pdoperator.capacity.measurements import ItlPoint, Measurements, SaturatedPoint, Setting, TtftPoint
from pdoperator.capacity.measuring import Measurement
from pdoperator.cli.main import run
from pdoperator.cli.profile_run import Kept, OtherEngineError, measure
from pdoperator.cli.profiler import NotAnEngineError, Profiler
from pdoperator.sim.engine.args import parse_config
from pdoperator.sim.engine.engine import Engine
from pdoperator.sim.engine.server import serve

T = TypeVar("T")
HOST, PORT = "127.0.67.1", 18100
URL = f"http://{HOST}:{PORT}"
GIVEN = {
    "ttft_s": [0.06, 4.2e-4, 3.5e-7], "itl_s": [0.021, 1.3e-3, 6.9e-7], "kv_tokens": 16384, "latency_s": 0.025,
}  # fmt: skip
FLAGS = ("--max-num-seqs", "16", "--max-num-batched-tokens", "1024", "--max-model-len", "4096")
SETTING = Setting(16384, 1024, 1, None, None, None)


async def with_engine(program: Callable[[Profiler], Awaitable[T]], **profile: Any) -> T:
    """Run it against a simulated engine in this loop."""
    argv = [
        "serve",
        "/models/tiny",
        "--served-model-name",
        "tiny",
        "--host",
        HOST,
        "--port",
        str(PORT),
        *FLAGS,
    ]
    engine = Engine(parse_config(argv, {"PD_SIM_PROFILE": json.dumps({**GIVEN, **profile})}))
    await engine.start()
    runner = await serve(engine, HOST, PORT)
    try:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True)
        ) as session:
            return await program(Profiler(session, URL, None, seed=1))
    finally:
        await engine.stop()
        await runner.cleanup()


def test_it_finds_the_profile_that_the_engine_was_given(tmp_path: Path) -> None:
    seen: list[Measurement] = []

    async def program(profiler: Profiler) -> tuple[measuring.EngineInfo, Measurements]:
        info = await profiler.info()
        await profiler.warm_up()
        return info, await measure(profiler, info, 1024, Kept(tmp_path / "kept", info), seen.append)

    info, measured = virtual_time.run(with_engine(program))
    assert info == measuring.EngineInfo("tiny", 16384, 4096)
    assert seen == list(measuring.plan(info, 1024))
    found = measurements.profile_of(SETTING, measured)
    assert (found.ttft.a, found.ttft.b, found.ttft.c) == pytest.approx((0.06, 4.2e-4, 3.5e-7), rel=0.02)
    assert (found.itl.a, found.itl.b, found.itl.c) == pytest.approx((0.021, 1.3e-3, 6.9e-7), rel=0.05)
    assert found.pass_s == pytest.approx(0.035, rel=0.05)
    assert (found.kv_tokens, found.max_batch, found.batched_tokens) == (16384, 16, 1024)
    errors = measurements.errors(found, measured)
    assert errors.ttft_max < 0.02
    assert errors.itl_max < 0.05
    assert (errors.packed, errors.mixed) == pytest.approx((1, 1), rel=0.1)


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    asked: list[Measurement] = []

    def stop_at_the_third(done: Measurement) -> None:
        asked.append(done)
        if len(asked) == 3:
            raise Interrupted

    async def first(profiler: Profiler) -> measuring.EngineInfo:
        info = await profiler.info()
        with pytest.raises(Interrupted):
            await measure(profiler, info, 1024, Kept(tmp_path / "kept", info), stop_at_the_third)
        return info

    info = virtual_time.run(with_engine(first))
    kept = Kept(tmp_path / "kept", info)
    assert [kept.get(step) is not None for step in measuring.plan(info, 1024)][:5] == [
        True,
        True,
        True,
        False,
        False,
    ]
    kept.remove()
    assert not (tmp_path / "kept").exists()


def test_what_is_kept_of_another_engine_is_refused(tmp_path: Path) -> None:
    path, info = tmp_path / "kept", measuring.EngineInfo("tiny", 16384, 4096)
    Kept(path, info).put(measuring.Ttft(32), {"point": None})
    with pytest.raises(OtherEngineError, match="is of another engine"):
        Kept(path, measuring.EngineInfo("large", 16384, 4096))
    path.write_text("{", encoding="utf-8")
    with pytest.raises(OtherEngineError, match="not what an interrupted run leaves; remove it"):
        Kept(path, info)


@pytest.mark.parametrize(
    ("models", "metrics", "what"),
    [
        ("<html>", "", r"/v1/models is no JSON \(HTTP 200\); is it the address of a vLLM server"),
        ('{"object": "list"}', "", "/v1/models lists no models; is it the address of a vLLM server"),
        (
            '{"data": [{"id": "gpt"}]}',
            "up 1\n",
            "/metrics is not vLLM's: vllm:cache_config_info is not there",
        ),
        ('{"data": [{"id": "gpt"}]}', "{{{", "/metrics is not vLLM's"),
        (
            '{"data": [{"id": "gpt"}]}',
            'vllm:cache_config_info{a="1"} 1\n',
            "does not say how large the KV cache is",
        ),
    ],
)
def test_what_is_not_vllm_is_told_in_one_line(models: str, metrics: str, what: str) -> None:
    async def answer_with(request: web.Request) -> web.Response:
        return web.Response(text=metrics if request.path == "/metrics" else models)

    async def program() -> None:
        application = web.Application()
        application.router.add_get("/{path:.*}", answer_with)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, HOST, PORT).start()
        try:
            async with aiohttp.ClientSession() as session:
                await Profiler(session, URL, None, seed=1).info()
        finally:
            await runner.cleanup()

    with pytest.raises(NotAnEngineError, match=what) as caught:
        virtual_time.run(program())
    assert "\n" not in str(caught.value)


def test_a_model_that_the_engine_does_not_serve_is_named_with_those_that_it_does() -> None:
    async def program(profiler: Profiler) -> None:
        profiler._model = "large"
        await profiler.info()

    with pytest.raises(NotAnEngineError, match="does not serve 'large'; it serves tiny"):
        virtual_time.run(with_engine(program))


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["localhost:8000"], 2, "'localhost:8000' is no address of an engine; give one like http://"),
        (["http://"], 2, "is no address of an engine"),
        (["http://127.0.67.9:9"], 1, "http://127.0.67.9:9 cannot be measured: Cannot connect"),
    ],
)
def test_an_address_where_nothing_is_makes_one_line(
    arguments: list[str], code: int, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["profile", *arguments]) == code
    err = capsys.readouterr().err
    assert what in err
    assert err.count("\n") == 1


def test_the_command_writes_a_profile_that_can_be_read_with_its_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = Measurements(
        ttft=tuple(TtftPoint(n, 0.02 + 1e-4 * n + 1e-8 * n**2) for n in (32, 512, 2048)),
        saturated=(SaturatedPoint(4, 40, 0.02 + 40 * 4e-4 + 19 * 0.012, 20),),
        itl=tuple(ItlPoint(b, c, 0.01 + 1e-4 * b + 1e-7 * b * c) for b in (1, 8) for c in (64, 1024)),
        mixed=(),
        max_batch=8,
    )
    info = measuring.EngineInfo("org/tiny", 4096, 2049)

    async def measured(*_: object) -> tuple[measuring.EngineInfo, Measurements, Path]:
        return info, points, tmp_path / "tiny.yaml"

    monkeypatch.setattr("pdoperator.cli.profile._run", measured)
    assert run(["profile", URL, "--batched-tokens", "2048", "--startup", "90s", "-o", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["profile"]["pass_s"] == pytest.approx(0.012, rel=0.01)
    assert printed["errors"]["packed"] is None
    text = (tmp_path / "tiny.yaml").read_text(encoding="utf-8")
    profile = profile_document.parse(yaml.safe_load(text))
    assert (profile.ttft.b, profile.itl.c) == pytest.approx((1e-4, 1e-7), rel=1e-3)
    assert (profile.startup_s, profile.batched_tokens, profile.max_batch) == (90, 2048, 8)
    assert len(yaml.safe_load(text)["measured"]["itl"]) == 4
    assert run(["profile", URL]) == 0
    assert "written to" in capsys.readouterr().out
