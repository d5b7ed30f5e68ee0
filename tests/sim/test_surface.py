"""The simulated engine speaks vLLM's HTTP surface (e2e/engine/compare.py holds it against the real one)."""

from __future__ import annotations

from typing import Any

import pytest

from sim.conftest import StartEngine, prompt_of


async def test_a_completion_has_as_many_tokens_as_asked_for(start_engine: StartEngine) -> None:
    engine = await start_engine()
    status, body = await engine.post("/v1/completions", model="tiny", prompt="hello world", max_tokens=5)
    assert status == 200
    assert body["object"] == "text_completion"
    assert body["usage"] == {
        "prompt_tokens": 2,
        "total_tokens": 7,
        "completion_tokens": 5,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["kv_transfer_params"] is None


async def test_equal_prompts_give_equal_tokens_and_other_prompts_others(start_engine: StartEngine) -> None:
    engine = await start_engine()
    first = await engine.generate(prompt_of(300))
    assert await engine.generate(prompt_of(300)) == first
    assert await engine.generate([9, *prompt_of(300)[1:]]) != first


async def test_a_stream_ends_with_usage_and_done(start_engine: StartEngine) -> None:
    engine = await start_engine()
    options = {"include_usage": True}
    events = await engine.stream(
        "/v1/completions", prompt=[5, 6], max_tokens=4, stream_options=options, return_token_ids=True
    )
    *chunks, counted, done = events
    assert done == "[DONE]"
    assert counted["choices"] == []
    assert counted["usage"] == {"prompt_tokens": 2, "total_tokens": 6, "completion_tokens": 4}
    streamed = [token for chunk in chunks for token in chunk["choices"][0]["token_ids"]]
    assert streamed == await engine.generate([5, 6], 4)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


async def test_a_chat_stream_begins_with_the_role(start_engine: StartEngine) -> None:
    engine = await start_engine()
    messages = [{"role": "user", "content": "hi"}]
    events = await engine.stream("/v1/chat/completions", messages=messages, max_completion_tokens=3)
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert events[0]["object"] == "chat.completion.chunk"
    assert events[-1] == "[DONE]"


async def test_the_request_id_of_the_header_is_in_the_answer(start_engine: StartEngine) -> None:
    engine = await start_engine()
    url = f"http://{engine.address}:18000/v1/completions"
    async with engine._session.post(url, json={"prompt": "x"}, headers={"X-Request-Id": "abc"}) as answer:
        assert (await answer.json())["id"] == "cmpl-abc"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"prompt": "x", "max_tokens": 0}, 400, "max_tokens"),
        ({"prompt": "x", "max_tokens": 5000}, 400, "max_tokens"),
        ({"prompt": "x", "max_tokens": 3, "min_tokens": 9}, 400, None),
        ({"prompt": prompt_of(2100), "max_tokens": 3}, 400, "input_tokens"),
        ({"max_tokens": 3}, 400, "prompt"),
        ({"prompt": "x", "n": 2}, 400, "n"),
        ({"prompt": ["x", "y"]}, 400, "prompt"),
        ({"prompt": "x", "model": "nope"}, 404, "model"),
        ({"prompt": "x", "stream_options": {"include_usage": True}}, 400, "stream_options"),
    ],
)
async def test_a_bad_request_is_refused_by_name(
    start_engine: StartEngine, body: dict[str, Any], status: int, param: str | None
) -> None:
    engine = await start_engine(flags=("--max-model-len", "2048"))
    got, answer = await engine.post("/v1/completions", **body)
    assert (got, answer["error"]["code"], answer["error"]["param"]) == (status, status, param)


async def test_a_full_queue_is_answered_503_and_counted(start_engine: StartEngine) -> None:
    engine = await start_engine(flags=("--max-num-queued-reqs", "0"))
    status, body = await engine.post("/v1/completions", prompt="x")
    assert (status, body["error"]["type"]) == (503, "Service Unavailable")
    assert await engine.metric("admission_rejections_total", reason="max_num_queued_reqs") == 1


async def test_metric_names_keep_vllms_colon_except_for_an_old_openmetrics_scraper(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine()
    _, plain = await engine.get("/metrics")
    assert 'vllm:num_requests_running{engine="0",model_name="tiny"} 0.0' in plain
    _, negotiated = await engine.get("/metrics", Accept="application/openmetrics-text;version=1.0.0")
    assert "vllm_num_requests_running" in negotiated


async def test_unknown_flags_are_accepted(start_engine: StartEngine) -> None:
    engine = await start_engine(flags=("--gpu-memory-utilization", "0.9", "--enforce-eager"))
    assert engine.engine.config.ignored == ("--gpu-memory-utilization", "0.9", "--enforce-eager")
