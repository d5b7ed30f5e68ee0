"""The straight road: prefill on P, decode on D, and what the client sees of it."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from pdoperator.api.names import Role, State
from router.conftest import Bench
from router.fake_engine import handoff


def events(raw: bytes) -> list[Any]:
    """The JSON of each event but the last, which must be [DONE]."""
    *chunks, done, rest = raw.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [orjson.loads(chunk.removeprefix(b"data: ")) for chunk in chunks]


async def test_prefill_gets_one_token_to_make_and_decode_the_clients_own_body_with_the_handoff(
    pair: Bench,
) -> None:
    status, answer = await pair.post(max_tokens=9, temperature=0, stop=["x"])
    assert status == 200
    (first,), (second,) = pair.engines["p"].bodies, pair.engines["d"].bodies
    assert (first["max_tokens"], first["min_tokens"], first["stream"], first["n"]) == (1, 1, False, 1)
    assert first["kv_transfer_params"]["do_remote_decode"] is True
    assert first["kv_transfer_params"]["do_remote_prefill"] is False
    assert (first["temperature"], first["stop"], first["prompt"]) == (0, ["x"], "hello")
    assert second.pop("kv_transfer_params") == handoff("p")
    assert second == {"model": "tiny", "prompt": "hello", "max_tokens": 9, "temperature": 0, "stop": ["x"]}
    assert answer["choices"][0]["text"] == "tok " * 4


async def test_chat_limits_prefill_by_both_names_of_the_limit(pair: Bench) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 5}
    status, answer = await pair.post(body, path="/v1/chat/completions")
    assert status == 200
    assert answer["choices"][0]["message"]["content"] == "tok " * 4
    (first,), (second,) = pair.engines["p"].bodies, pair.engines["d"].bodies
    assert (first["max_tokens"], first["max_completion_tokens"]) == (1, 1)
    assert second["max_completion_tokens"] == 5
    assert "max_tokens" not in second


async def test_a_stream_passes_unchanged_and_without_the_usage_nobody_asked_for(pair: Bench) -> None:
    seen = events(await pair.stream())
    assert [e["choices"][0]["text"] for e in seen] == ["tok "] * 4
    assert pair.engines["d"].bodies[0]["stream_options"] == {"include_usage": True}
    assert "stream_options" not in pair.engines["p"].bodies[0]


async def test_a_chat_stream_keeps_its_role_event(pair: Bench) -> None:
    seen = events(await pair.stream("/v1/chat/completions", messages=[{"role": "user", "content": "hi"}]))
    assert seen[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len(seen) == 5


async def test_usage_reaches_a_client_that_asked_for_it(pair: Bench) -> None:
    seen = events(await pair.stream(stream_options={"include_usage": True}))
    assert seen[-1]["usage"] == {"prompt_tokens": 7, "completion_tokens": 4}


async def test_engines_own_fields_are_stripped_from_requests_and_counted(pair: Bench) -> None:
    poison = {"do_remote_prefill": True}
    status, _ = await pair.post(kv_transfer_params=poison, vllm_xargs={"kv_transfer_params": poison, "a": 1})
    assert status == 200
    assert pair.engines["p"].bodies[0]["kv_transfer_params"]["do_remote_prefill"] is False
    assert pair.engines["d"].bodies[0]["kv_transfer_params"] == handoff("p")
    assert pair.engines["d"].bodies[0]["vllm_xargs"] == {"a": 1}
    assert (await pair.samples())["pdrouter_kv_transfer_params_stripped_total{}"] == 1


async def test_engines_own_fields_do_not_leak_into_answers(pair: Bench) -> None:
    _, answer = await pair.post()
    assert "kv_transfer_params" not in answer


async def test_the_clients_request_id_goes_to_both_engines_and_back(pair: Bench) -> None:
    async with pair.client.post(
        pair.url + "/v1/completions", json={"model": "tiny", "prompt": "x"}, headers={"X-Request-Id": "abc"}
    ) as response:
        assert response.headers["X-Request-Id"] == "abc"
    assert pair.engines["p"].headers[0]["X-Request-Id"] == "abc-prefill"
    assert pair.engines["d"].headers[0]["X-Request-Id"] == "abc"


async def test_a_request_without_an_id_gets_one(pair: Bench) -> None:
    await pair.post()
    assert len(pair.engines["d"].headers[0]["X-Request-Id"]) == 32


@pytest.mark.parametrize(
    "more",
    [{"n": 2}, {"best_of": 3}, {"prompt": ["a", "b"]}, {"prompt": [[1], [2]]}, {"prompt_logprobs": 1},
     {"echo": True, "logprobs": 1}, {"use_beam_search": True}],
)  # fmt: skip
async def test_what_one_kv_transfer_cannot_serve_is_decoded_aggregated(
    pair: Bench, more: dict[str, Any]
) -> None:
    status, _ = await pair.post(**more)
    assert status == 200
    assert pair.engines["p"].bodies == []
    assert pair.engines["d"].bodies[0] == {"model": "tiny", "prompt": "hello", **more}
    assert (await pair.samples())["pdrouter_aggregated_total{reason=not_transferable}"] == 1


@pytest.mark.parametrize("more", [{"n": 1}, {"prompt": ["a"]}, {"prompt": [1, 2, 3]}, {"echo": True}])
async def test_a_single_sequence_is_disaggregated_however_it_is_written(
    pair: Bench, more: dict[str, Any]
) -> None:
    status, _ = await pair.post(**more)
    assert status == 200
    assert len(pair.engines["p"].bodies) == 1


async def test_without_a_prefill_engine_decode_serves_alone_and_it_is_counted(bench: Bench) -> None:
    engine = await bench.add("d", Role.DECODE)
    assert (await bench.post())[0] == 200
    assert "kv_transfer_params" not in engine.bodies[0]
    samples = await bench.samples()
    assert samples["pdrouter_aggregated_total{reason=no_prefill_engine}"] == 1
    assert samples["pdrouter_requests_total{outcome=ok,path=aggregated}"] == 1


async def test_without_a_decode_engine_a_prefill_engine_serves_alone(bench: Bench) -> None:
    await bench.add("p", Role.PREFILL)
    assert (await bench.post())[0] == 200
    assert (await bench.samples())["pdrouter_aggregated_total{reason=no_decode_engine}"] == 1


async def test_engines_of_different_revisions_are_never_paired(bench: Bench) -> None:
    old = await bench.add("p", Role.PREFILL, revision="old")
    new = await bench.add("d", Role.DECODE, revision="new")
    assert (await bench.post())[0] == 200
    assert old.bodies == []
    assert "kv_transfer_params" not in new.bodies[0]


async def test_a_draining_engine_gets_nothing_new(pair: Bench) -> None:
    other = await pair.add("d2", Role.DECODE)
    pair.show(d={"state": State.DRAINING})
    for _ in range(4):
        assert (await pair.post())[0] == 200
    assert pair.engines["d"].bodies == []
    assert len(other.bodies) == 4


async def test_without_any_engine_the_answer_is_503_with_the_reason(bench: Bench) -> None:
    status, answer = await bench.post()
    assert (status, answer["error"]["message"]) == (503, "No engine of svc is ready.")
    assert (await bench.samples())["pdrouter_requests_total{outcome=no_engine,path=none}"] == 1


async def test_concurrent_requests_spread_over_the_engines(bench: Bench) -> None:
    for name in ("p1", "p2"):
        await bench.add(name, Role.PREFILL)
    for name in ("d1", "d2", "d3"):
        await bench.add(name, Role.DECODE, token_s=0.01)
    await asyncio.gather(*(bench.stream() for _ in range(30)))
    assert [len(bench.engines[name].bodies) for name in ("p1", "p2")] == [15, 15]
    assert all(8 <= len(bench.engines[name].bodies) <= 12 for name in ("d1", "d2", "d3"))


async def test_two_hundred_streams_at_once_are_all_whole(pair: Bench) -> None:
    pair.engines["d"].token_s = 0.005
    streams = await asyncio.gather(*(pair.stream() for _ in range(200)))
    assert all(len(events(raw)) == 4 for raw in streams)
    assert pair.engines["d"].most_running > 20
    assert pair.outstanding() == 0
    samples = await pair.samples()
    assert samples["pdrouter_requests_admitted_total{}"] == 200
    assert samples["pdrouter_requests_total{outcome=ok,path=disaggregated}"] == 200


async def test_a_long_prompt_is_taken(pair: Bench) -> None:
    assert (await pair.post(prompt=list(range(400_000))))[0] == 200
