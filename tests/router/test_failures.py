"""What goes wrong with an engine or a client, and what becomes of the request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.router.exchange import ClientGone, Exchange
from router.conftest import Bench
from router.fake_engine import Script, aborts, answers, breaks_off, drops, event, hangs, start_stream

HANG_LIMIT_S = 1.0
FAILURES = pytest.mark.parametrize("script", [answers(500), answers(503), aborts, drops, hangs])


def limits(script: Script) -> dict[str, float]:
    """A short limit where it is what ends the step."""
    return {"prefill_timeout_s": HANG_LIMIT_S} if script is hangs else {}


async def until(condition: Any, limit_s: float = 2.0) -> None:
    """Wait for it."""
    async with asyncio.timeout(limit_s):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


# --- the first step ----------------------------------------------------------------------------------------


@FAILURES
async def test_a_failed_prefill_is_tried_once_more_on_another_engine(bench: Bench, script: Script) -> None:
    bench.config(**limits(script))
    bad = await bench.add("p1", Role.PREFILL, script=script)
    good = await bench.add("p2", Role.PREFILL)
    await bench.add("d", Role.DECODE)
    bench.fleet.scheduler.load.acquire("p2", Role.PREFILL, 100)  # so that p1 is asked first
    status, _ = await bench.post()
    assert (status, len(bad.bodies), len(good.bodies)) == (200, 1, 1)
    samples = await bench.samples()
    assert samples["pdrouter_retries_total{step=prefill}"] == 1
    assert samples["pdrouter_requests_total{outcome=ok,path=disaggregated}"] == 1


@FAILURES
async def test_when_prefill_fails_for_good_decode_serves_alone(pair: Bench, script: Script) -> None:
    pair.config(**limits(script))
    pair.engines["p"].script = script
    assert (await pair.post())[0] == 200
    assert "kv_transfer_params" not in pair.engines["d"].bodies[0]
    assert (await pair.samples())["pdrouter_aggregated_total{reason=prefill_failed}"] == 1


async def test_at_most_two_prefill_engines_are_tried(bench: Bench) -> None:
    tried = [await bench.add(f"p{n}", Role.PREFILL, script=answers(500)) for n in range(4)]
    await bench.add("d", Role.DECODE)
    assert (await bench.post())[0] == 200
    assert sum(len(engine.bodies) for engine in tried) == 2


async def test_a_prefill_answer_without_a_handoff_is_a_failure(pair: Bench) -> None:
    pair.engines["p"].script = answers(200, {"choices": [{"text": "x", "finish_reason": "length"}]})
    assert (await pair.post())[0] == 200
    assert "kv_transfer_params" not in pair.engines["d"].bodies[0]


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_the_engines_refusal_of_a_bad_request_is_the_clients_answer(pair: Bench, status: int) -> None:
    refusal = {"error": {"message": "max_tokens must be at least 1", "code": status}}
    pair.engines["p"].script = answers(status, refusal)
    assert await pair.post(max_tokens=-1) == (status, refusal)
    assert pair.engines["d"].bodies == []
    assert (await pair.samples())["pdrouter_requests_total{outcome=client_error,path=none}"] == 1


async def test_an_engine_that_cannot_be_reached_is_left_alone_for_a_while(bench: Bench) -> None:
    await bench.add("p1", Role.PREFILL)
    await bench.add("p2", Role.PREFILL)
    await bench.add("d", Role.DECODE)
    bench.show(p1={"address": "127.0.0.1:1"})
    for _ in range(6):
        assert (await bench.post())[0] == 200
    assert (await bench.samples())["pdrouter_retries_total{step=prefill}"] == 1


async def test_an_engine_that_is_ready_and_fails_everything_is_left_alone_for_a_while(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """smg#2382: engines poisoned by a killed peer stayed Ready, failed at once, and so always looked least busy."""
    monkeypatch.setattr(defaults, "SHUN_S", 3600.0)
    poisoned = await bench.add("p0", Role.PREFILL, script=answers(500))
    for n in (1, 2):
        await bench.add(f"p{n}", Role.PREFILL)
    await bench.add("d", Role.DECODE)
    for _ in range(30):
        assert (await bench.post())[0] == 200
    assert len(poisoned.bodies) == defaults.FAILURES_IN_A_ROW


async def test_an_engine_that_fails_now_and_then_keeps_its_share(bench: Bench) -> None:
    engine = await bench.add("p0", Role.PREFILL)
    await bench.add("p1", Role.PREFILL)
    await bench.add("d", Role.DECODE)
    for i in range(24):
        engine.script = answers(500) if i % 4 == 0 else None
        assert (await bench.post())[0] == 200
    assert len(engine.bodies) >= 12


async def test_a_handoff_older_than_its_lease_is_not_used(pair: Bench) -> None:
    pair.config(kv_lease_s=0.0)
    assert (await pair.post())[0] == 200
    assert "kv_transfer_params" not in pair.engines["d"].bodies[0]
    assert (await pair.samples())["pdrouter_aggregated_total{reason=lease_expired}"] == 1


async def test_a_prefill_engine_that_became_a_decode_engine_meanwhile_does_not_pull_from_itself(
    pair: Bench,
) -> None:
    async def flips(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        pair.show(p={"role": Role.DECODE}, d={"role": Role.PREFILL})
        return await pair.engines["p"].answer(request, body)

    pair.engines["p"].script = flips
    assert (await pair.post())[0] == 200
    assert "kv_transfer_params" not in pair.engines["p"].bodies[1]


# --- the second step ---------------------------------------------------------------------------------------


@FAILURES
async def test_a_failed_decode_stream_is_served_elsewhere_without_the_handoff(
    bench: Bench, script: Script
) -> None:
    bench.config(**limits(script))
    await bench.add("p", Role.PREFILL)
    bad = await bench.add("d1", Role.DECODE, script=script)
    good = await bench.add("d2", Role.DECODE)
    bench.fleet.scheduler.load.acquire("d2", Role.DECODE, 100)
    raw = await bench.stream()
    assert raw.count(b"tok ") == 4
    assert b"error" not in raw
    assert len(bad.bodies) == 1
    assert "kv_transfer_params" not in good.bodies[0]
    samples = await bench.samples()
    assert samples["pdrouter_retries_total{step=decode}"] == 1
    assert samples["pdrouter_requests_total{outcome=ok,path=aggregated}"] == 1
    assert samples["pdrouter_aggregated_total{reason=decode_failed}"] == 1


async def test_a_pull_that_fails_is_recomputed_on_the_same_engine_when_it_is_the_only_one(
    pair: Bench,
) -> None:
    async def fails_to_pull(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if "kv_transfer_params" in body:
            return web.json_response({"error": {"message": "handshake"}}, status=500)
        return await pair.engines["d"].answer(request, body)

    pair.engines["d"].script = fails_to_pull
    assert (await pair.post())[0] == 200
    assert len(pair.engines["p"].bodies) == 1


async def test_a_broken_decode_engine_leaves_the_request_to_a_prefill_engine(pair: Bench) -> None:
    pair.engines["d"].script = answers(500)
    assert (await pair.post())[0] == 200
    assert len(pair.engines["d"].bodies) == 2
    assert "kv_transfer_params" not in pair.engines["p"].bodies[1]


async def test_when_every_engine_fails_the_client_gets_one_error(pair: Bench) -> None:
    pair.engines["p"].script = pair.engines["d"].script = answers(500)
    status, answer = await pair.post()
    assert status == 502
    assert answer["error"]["type"] == "BadGatewayError"
    assert (await pair.samples())["pdrouter_requests_total{outcome=error,path=aggregated}"] == 1


async def test_engines_that_are_all_full_make_the_answer_503(pair: Bench) -> None:
    pair.engines["p"].script = pair.engines["d"].script = answers(503)
    assert (await pair.post())[0] == 503


async def test_a_stream_cut_off_after_its_first_token_ends_with_an_error_event(bench: Bench) -> None:
    await bench.add("d1", Role.DECODE, script=breaks_off)
    other = await bench.add("d2", Role.DECODE)
    bench.fleet.scheduler.load.acquire("d2", Role.DECODE, 100)
    raw = await bench.stream()
    assert raw.count(b"tok ") == 2
    last = json.loads(raw.split(b"\n\n")[-2].removeprefix(b"data: "))
    assert last["error"]["code"] == 502
    assert other.bodies == []
    assert (await bench.samples())["pdrouter_requests_total{outcome=error,path=aggregated}"] == 1


async def test_a_stream_that_ends_without_saying_so_ends_with_an_error_event(bench: Bench) -> None:
    async def stops(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = await start_stream(request)
        await response.write(event(text="tok "))
        return response

    await bench.add("d", Role.DECODE, script=stops)
    assert b"BadGatewayError" in await bench.stream()


async def test_a_decode_engine_that_drains_leaves_a_whole_answer_to_another(bench: Bench) -> None:
    await bench.add("d1", Role.DECODE, script=aborts)
    await bench.add("d2", Role.DECODE)
    bench.fleet.scheduler.load.acquire("d2", Role.DECODE, 100)
    status, answer = await bench.post()
    assert (status, answer["choices"][0]["finish_reason"]) == (200, "length")


async def test_the_limit_for_the_first_token_does_not_end_a_stream_that_has_begun(bench: Bench) -> None:
    bench.config(prefill_timeout_s=HANG_LIMIT_S)
    await bench.add("d", Role.DECODE, tokens=8, token_s=HANG_LIMIT_S / 5)
    raw = await bench.stream()
    assert raw.count(b"tok ") == 8
    assert b"error" not in raw


async def test_a_client_gone_is_not_taken_for_a_broken_engine(pair: Bench) -> None:
    class Gone:
        async def write(self, data: bytes) -> None:
            raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

    x = Exchange.__new__(Exchange)
    x.response = Gone()  # type: ignore[assignment]
    with pytest.raises(ClientGone):
        await x.write(b"data")


async def test_an_abort_in_mid_stream_is_passed_on_and_counted_as_an_error(bench: Bench) -> None:
    async def cut(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = await start_stream(request)
        await response.write(event(text="tok "))
        await response.write(event(text="", finish="abort") + b"data: [DONE]\n\n")
        return response

    await bench.add("d", Role.DECODE, script=cut)
    assert b'"abort"' in await bench.stream()
    assert (await bench.samples())["pdrouter_requests_total{outcome=error,path=aggregated}"] == 1


async def test_a_request_that_outlasts_its_limit_is_answered_504(bench: Bench) -> None:
    bench.config(request_timeout_s=0.3)
    engine = await bench.add("d", Role.DECODE, script=hangs)
    status, answer = await bench.post()
    assert (status, answer["error"]["type"]) == (504, "GatewayTimeoutError")
    assert (await bench.samples())["pdrouter_requests_total{outcome=timeout,path=aggregated}"] == 1
    await until(lambda: engine.cancelled == 1)


async def test_a_stream_that_outlasts_its_limit_ends_with_an_error_event(bench: Bench) -> None:
    bench.config(request_timeout_s=0.3)
    await bench.add("d", Role.DECODE, tokens=1000, token_s=0.02)
    raw = await bench.stream()
    assert b"tok " in raw
    assert b"GatewayTimeoutError" in raw
    assert (await bench.samples())["pdrouter_requests_total{outcome=timeout,path=aggregated}"] == 1


# --- the client --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["p", "d"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_the_engine_and_the_account(
    pair: Bench, step: str, stream: bool
) -> None:
    engine = pair.engines[step]
    engine.script = hangs
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await pair.post(stream=stream)
    await until(lambda: engine.cancelled == 1)
    await until(lambda: pair.outstanding() == 0)
    assert pair.router.in_flight == 0
    samples = await pair.samples()
    assert (
        sum(v for k, v in samples.items() if k.startswith("pdrouter_requests_total") and "=cancelled" in k)
        == 1
    )


async def test_clients_that_leave_in_mid_stream_leave_nothing_behind(pair: Bench) -> None:
    engine = pair.engines["d"]
    engine.tokens, engine.token_s = 10_000, 0.01

    async def leave() -> None:
        body = {"model": "tiny", "prompt": "x", "stream": True}
        async with (
            aiohttp.ClientSession() as client,
            client.post(pair.url + "/v1/completions", json=body) as answer,
        ):
            await answer.content.readany()

    await asyncio.gather(*(leave() for _ in range(50)))
    await until(lambda: pair.outstanding() == 0, 5.0)
    await until(lambda: engine.running == 0, 5.0)
    assert (await pair.samples())["pdrouter_requests_total{outcome=cancelled,path=disaggregated}"] == 50


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{nonsense", 400, "not valid JSON"),
        (b"", 400, "not valid JSON"),
        (b"\xff\xfe", 400, "not valid JSON"),
        (b"[1]", 400, "must be a JSON object"),
        (b'{"model": "other", "prompt": "x"}', 404, "The model `other` does not exist."),
        (b'{"model": {"a": 1}, "prompt": "x"}', 404, "does not exist."),
    ],
)
async def test_what_cannot_be_understood_is_refused_in_one_line(
    pair: Bench, body: bytes, status: int, words: str
) -> None:
    got, answer = await pair.post(body)
    assert got == status
    assert words in answer["error"]["message"]
    assert "\n" not in answer["error"]["message"]
    assert answer["error"]["code"] == status
    assert pair.engines["p"].bodies == []
    assert "pdrouter_requests_admitted_total{}" in (samples := await pair.samples())
    assert samples["pdrouter_requests_admitted_total{}"] == 0


async def test_a_body_beyond_the_limit_is_refused(pair: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await pair.post(b'"' + b"x" * (65 << 20) + b'"'))[0] == 413
