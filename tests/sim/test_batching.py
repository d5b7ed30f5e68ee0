"""Latencies follow the profile, the KV pool bounds what runs, and nothing is lost when it is full."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from pdoperator.sim.engine.args import human_int, parse_config
from pdoperator.sim.engine.kv import BlockPool
from pdoperator.sim.engine.profile import load_profile
from pdoperator.sim.engine.tokens import decode, encode
from sim.conftest import PORT, StartEngine, prompt_of


async def seconds(engine_call: object) -> float:
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    await engine_call  # type: ignore[misc]
    return loop.time() - started_s


async def test_time_to_first_token_grows_with_the_prompt(start_engine: StartEngine) -> None:
    engine = await start_engine(profile={"ttft_s": [0.05, 0.0005], "itl_s": [0], "kv_tokens": 4096})
    assert await seconds(engine.generate(prompt_of(100), 1)) >= 0.1
    assert await seconds(engine.generate(prompt_of(500, 1), 1)) >= 0.3


async def test_a_known_prefix_is_not_computed_again(start_engine: StartEngine) -> None:
    engine = await start_engine(profile={"ttft_s": [0, 0.001], "itl_s": [0], "kv_tokens": 4096})
    assert await seconds(engine.generate(prompt_of(520), 1)) >= 0.52
    assert await seconds(engine.generate(prompt_of(520), 1)) < 0.4
    assert await engine.metric("prompt_tokens_by_source_total", source="local_cache_hit") == 512
    assert await engine.metric("prefix_cache_hits_total") == 512


async def test_without_prefix_caching_every_prompt_is_computed(start_engine: StartEngine) -> None:
    engine = await start_engine(flags=("--no-enable-prefix-caching",))
    first, again = [await engine.generate(prompt_of(520), 8) for _ in range(2)]
    assert first == again
    assert await engine.metric("prompt_tokens_by_source_total", source="local_compute") == 1040
    assert await engine.metric("prefix_cache_queries_total") == 0
    assert await engine.metric("cache_config_info", enable_prefix_caching="False") == 1


async def test_a_second_turn_finds_the_first_ones_answer_in_the_cache(start_engine: StartEngine) -> None:
    engine = await start_engine()
    first = prompt_of(100)
    answer = await engine.generate(first, 200)
    await engine.generate([*first, *answer, 5], 1)
    assert await engine.metric("prefix_cache_hits_total") == 256


async def test_sequences_decode_together(start_engine: StartEngine) -> None:
    engine = await start_engine(profile={"ttft_s": [0], "itl_s": [0.02], "kv_tokens": 8192})
    together = asyncio.gather(*(engine.generate([seed + 3], 21) for seed in range(8)))
    assert 0.4 <= await seconds(together) < 2 * 0.4


async def test_speed_divides_all_durations() -> None:
    config = parse_config(["serve", "m"], {"PD_SIM_SPEED": "10", "PD_SIM_STARTUP_S": "5"})
    assert (config.speed, config.startup_s) == (10, 5)


async def test_a_full_cache_makes_requests_wait_and_loses_none(start_engine: StartEngine) -> None:
    engine = await start_engine(profile={"ttft_s": [0], "itl_s": [0.001], "kv_tokens": 512})
    answers = await asyncio.gather(*(engine.generate(prompt_of(200, seed), 150) for seed in range(6)))
    assert [len(answer) for answer in answers] == [150] * 6
    assert await engine.metric("num_preemptions_total") > 0
    assert await engine.metric("kv_cache_usage_perc") == 0
    alone = await start_engine()
    assert answers[5] == await alone.generate(prompt_of(200, 5), 150)


async def test_a_client_that_hangs_up_frees_its_place(start_engine: StartEngine) -> None:
    engine = await start_engine(profile={"ttft_s": [0], "itl_s": [0.01], "kv_tokens": 8192})
    body = {"prompt": [5], "max_tokens": 4000, "stream": True}
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"http://{engine.address}:{PORT}/v1/completions", json=body)
        await answer.content.readline()
        assert await engine.metric("num_requests_running") == 1
        answer.close()
    async with asyncio.timeout(5):
        while await engine.metric("num_requests_running"):  # noqa: ASYNC110 (only the metric tells)
            await asyncio.sleep(0.05)
    assert await engine.metric("request_success_total", finished_reason="abort") == 1


async def test_draining_finishes_what_runs_and_aborts_what_comes(start_engine: StartEngine) -> None:
    slow = {"ttft_s": [0], "itl_s": [0.01], "kv_tokens": 8192}
    engine = await start_engine(profile=slow, flags=("--shutdown-timeout", "20"))
    running = asyncio.create_task(engine.generate([5], 30))
    await asyncio.sleep(0.1)
    draining = asyncio.create_task(engine.engine.drain())
    await asyncio.sleep(0.05)
    assert (await engine.get("/health"))[0] == 200
    status, late = await engine.post("/v1/completions", prompt=[7], max_tokens=5)
    assert (status, late["choices"][0]["finish_reason"], late["choices"][0]["text"]) == (200, "abort", "")
    assert (await engine.post("/v1/completions", prompt="text", max_tokens=5))[0] == 500
    assert len(await running) == 30
    await asyncio.wait_for(draining, 5)


async def test_a_draining_prefill_engine_waits_until_its_kv_was_fetched(start_engine: StartEngine) -> None:
    p = await start_engine(flags=("--shutdown-timeout", "20"))
    d = await start_engine()
    params = await p.prefill(prompt_of(300))
    draining = asyncio.create_task(p.engine.drain())
    await asyncio.sleep(0.1)
    assert not draining.done()
    await d.generate(prompt_of(300), kv_transfer_params=params)
    await asyncio.wait_for(draining, 5)
    assert await d.metric("prompt_tokens_by_source_total", source="external_kv_transfer") == 300


def test_the_pool_reuses_the_block_that_was_free_the_longest() -> None:
    pool = BlockPool(3)
    blocks = pool.allocate(3)
    assert blocks is not None
    assert pool.allocate(1) is None
    for block, key in zip(blocks, (b"a", b"b", b"c"), strict=True):
        pool.remember(block, key)
    pool.release(blocks)  # the end of a sequence goes first
    assert pool.allocate(1) == [blocks[2]]
    assert pool.longest_prefix([b"a", b"b", b"c"]) == blocks[:2]
    assert pool.usage == 1.0


def test_generated_text_is_read_back_as_the_same_tokens() -> None:
    tokens = [3, 17, 2047, 999]
    assert encode(decode(tokens)) == tokens


@pytest.mark.parametrize(("text", "value"), [("64", 64), ("1k", 1000), ("2K", 2048), ("1.5k", 1500)])
def test_short_integers_are_read_as_vllm_reads_them(text: str, value: int) -> None:
    assert human_int(text) == value


@pytest.mark.parametrize("text", ["no-such-profile", "{", '{"ttft_s": "fast"}'])
def test_a_profile_that_is_none_says_what_would_be_one(text: str) -> None:
    with pytest.raises(ValueError, match="cpu-tiny"):
        load_profile(text)


def test_a_profile_takes_lists_and_named_coefficients() -> None:
    profile = load_profile('{"ttft_s": {"a": 1, "c": 3}, "itl_s": [0.5], "kv_tokens": 10}')
    assert (profile.ttft_s, profile.itl_s) == ((1, 0, 3), (0.5, 0, 0))


@pytest.mark.parametrize(("policy", "order"), [("priority", [3, 2, 1]), ("fcfs", [1, 2, 3])])
async def test_who_waits_is_let_in_by_priority_and_only_where_the_engine_goes_by_it(
    start_engine: StartEngine, policy: str, order: list[int]
) -> None:
    """One seat, which somebody has; those who come are each more urgent than the one before."""
    profile = {"ttft_s": [0], "itl_s": [0.01], "kv_tokens": 8192}
    engine = await start_engine(profile=profile, flags=("--max-num-seqs", "1", "--scheduling-policy", policy))
    seated = asyncio.create_task(engine.generate([5], 4000))
    ended: list[int] = []

    async def one(number: int) -> None:
        await engine.generate(prompt_of(100, number), 10, priority=-number)
        ended.append(number)

    tasks = []
    async with asyncio.timeout(20):
        while not await engine.metric("num_requests_running"):  # noqa: ASYNC110 (only the metric tells)
            await asyncio.sleep(0.01)
        for number in (1, 2, 3):
            tasks.append(asyncio.create_task(one(number)))
            while await engine.metric("num_requests_waiting") < number:  # noqa: ASYNC110 (only the metric tells)
                await asyncio.sleep(0.01)
        seated.cancel()
        await asyncio.gather(*tasks)
    assert ended == order


async def test_who_waits_for_tokens_of_a_step_can_still_be_overtaken(start_engine: StartEngine) -> None:
    """As in vLLM a prompt is let in when a step has tokens for it, not as soon as its KV has room."""
    slow = {"ttft_s": [0, 1.0], "itl_s": [0], "kv_tokens": 8192}
    engine = await start_engine(profile=slow, flags=("--max-num-batched-tokens", "100"))
    tasks = [asyncio.create_task(engine.generate(prompt_of(200, seed), 1)) for seed in range(3)]
    async with asyncio.timeout(20):
        while await engine.metric("num_requests_waiting") < 2:  # noqa: ASYNC110 (only the metric tells)
            await asyncio.sleep(0.01)
    assert await engine.metric("num_requests_running") == 1
    for task in tasks:
        task.cancel()


async def test_a_full_cache_costs_the_least_urgent_its_place(start_engine: StartEngine) -> None:
    tight = {"ttft_s": [0], "itl_s": [0.001], "kv_tokens": 512}
    engine = await start_engine(profile=tight, flags=("--scheduling-policy", "priority"))
    urgent, patient = await asyncio.gather(
        engine.generate(prompt_of(200, 1), 150, priority=1),
        engine.generate(prompt_of(200, 2), 150, priority=2),
    )
    assert len(urgent) == len(patient) == 150
