"""The NIXL two-step between simulated engines, and every way in which it fails (as measured on real ones)."""

from __future__ import annotations

import asyncio

import pytest

from pdoperator.sim.engine import transfer
from pdoperator.sim.engine.engine import Life
from sim.conftest import LiveEngine, StartEngine, prompt_of

STRANGER = "00000000-0000-0000-0000-000000000000"


async def pair(
    start_engine: StartEngine, policy: str = "recompute", lease_s: float = 30.0
) -> tuple[LiveEngine, LiveEngine]:
    return await start_engine(lease_s=lease_s), await start_engine(policy=policy, lease_s=lease_s)


@pytest.mark.parametrize("length", [1, 17, 128, 129, 700, 1900])
async def test_decoding_on_fetched_kv_equals_the_aggregated_output(
    start_engine: StartEngine, length: int
) -> None:
    p, d = await pair(start_engine)
    prompt = prompt_of(length)
    got = await d.generate(prompt, kv_transfer_params=await p.prefill(prompt))
    assert got == await p.generate(prompt, cache_salt="elsewhere")
    assert await d.metric("prompt_tokens_by_source_total", source="external_kv_transfer") == length
    assert await d.metric("prompt_tokens_by_source_total", source="local_compute") == 0
    assert await d.metric("nixl_xfer_time_seconds_count") == 1


async def test_roles_swap_from_request_to_request(start_engine: StartEngine) -> None:
    a, b = await pair(start_engine)
    for seed, (p, d) in enumerate([(a, b), (b, a), (a, b)]):
        prompt = prompt_of(300, seed)
        assert await d.generate(prompt, kv_transfer_params=await p.prefill(prompt)) == await p.generate(
            prompt
        )


async def test_p_frees_its_blocks_once_they_were_read(start_engine: StartEngine) -> None:
    p, d = await pair(start_engine)
    params = await p.prefill(prompt_of(300))
    assert await p.metric("kv_cache_usage_perc") > 0
    await d.generate(prompt_of(300), kv_transfer_params=params)
    await p.engine._held.empty.wait()
    assert await p.metric("kv_cache_usage_perc") == 0


async def test_blocks_that_are_not_fetched_are_freed_when_the_lease_ends(start_engine: StartEngine) -> None:
    p, d = await pair(start_engine, lease_s=0.2)
    prompt = prompt_of(300)
    params = await p.prefill(prompt)
    await asyncio.wait_for(p.engine._held.empty.wait(), 5)
    assert await p.metric("nixl_num_kv_expired_reqs_total") == 1
    # Too late, but nobody has written there since: right tokens, and P counts the danger.
    assert await d.generate(prompt, kv_transfer_params=params) == await p.generate(prompt)
    assert await p.metric("nixl_num_notifications_after_expiry_total") == 1


async def test_a_queued_decode_request_renews_the_lease(start_engine: StartEngine) -> None:
    p = await start_engine(lease_s=0.6)
    slow = {"ttft_s": [0], "itl_s": [0.06], "kv_tokens": 384}
    d = await start_engine(profile=slow, lease_s=0.6)
    busy = asyncio.create_task(d.generate(prompt_of(200, 1), 30))  # fills D's cache for 1.8 s, three leases
    await asyncio.sleep(0.1)
    prompt = prompt_of(250)
    got = await d.generate(prompt, 2, kv_transfer_params=await p.prefill(prompt))
    await busy
    assert await p.metric("nixl_num_kv_expired_reqs_total") == 0
    assert got == await p.generate(prompt, 2)


async def test_wrong_blocks_give_wrong_tokens_and_poison_the_prefix_cache(start_engine: StartEngine) -> None:
    p, d = await pair(start_engine)
    prompt, other = prompt_of(700), prompt_of(700, 1)
    params, wrong = await p.prefill(prompt), await p.prefill(other)
    right = await p.generate(prompt)
    params["remote_block_ids"] = wrong["remote_block_ids"]
    assert await d.generate(prompt, kv_transfer_params=params) != right
    assert await d.generate(prompt) != right
    assert await d.generate(prompt, cache_salt="elsewhere") == right


@pytest.mark.parametrize("policy", ["fail", "recompute"])
@pytest.mark.parametrize("changed", [{"remote_engine_id": STRANGER}, {"tp_size": 2}])
async def test_a_failed_handshake_follows_the_load_failure_policy(
    start_engine: StartEngine, policy: str, changed: dict[str, object]
) -> None:
    p, d = await pair(start_engine, policy)
    prompt = prompt_of(300)
    params = {**await p.prefill(prompt), **changed}
    status, body = await d.post(
        "/v1/completions", prompt=prompt, return_token_ids=True, kv_transfer_params=params
    )
    if policy == "fail":
        assert (status, body["error"]["type"]) == (500, "InternalServerError")
    else:
        assert body["choices"][0]["token_ids"] == await p.generate(prompt, 16)
    assert await d.metric("nixl_num_failed_transfers_total") == 1


async def test_a_wrong_tensor_parallel_size_breaks_the_pair_for_good(start_engine: StartEngine) -> None:
    p, d = await pair(start_engine, "fail")
    for seed, changed in enumerate([{"tp_size": 2}, {}]):
        params = {**await p.prefill(prompt_of(300, seed)), **changed}
        status, _ = await d.post("/v1/completions", prompt=prompt_of(300, seed), kv_transfer_params=params)
        assert status == 500


async def test_an_engine_does_not_pull_from_itself(start_engine: StartEngine) -> None:
    _, d = await pair(start_engine, "fail")
    params = await d.prefill(prompt_of(300))
    status, _ = await d.post("/v1/completions", prompt=prompt_of(300), kv_transfer_params=params)
    assert status == 500


async def test_a_connected_prefill_engine_that_dies_fails_at_once(start_engine: StartEngine) -> None:
    p, d = await pair(start_engine, "fail")
    await d.generate(prompt_of(300), kv_transfer_params=await p.prefill(prompt_of(300)))
    params = await p.prefill(prompt_of(300, 1))
    await p.crash()
    async with asyncio.timeout(2):
        status, _ = await d.post("/v1/completions", prompt=prompt_of(300, 1), kv_transfer_params=params)
    assert status == 500


async def test_nobody_at_the_address_is_noticed_by_the_handshakes_time_limit(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "HANDSHAKE_LIMIT_S", 0.5)
    p, d = await pair(start_engine)
    prompt = prompt_of(300)
    params = {**await p.prefill(prompt), "remote_port": 1}
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    assert await d.generate(prompt, kv_transfer_params=params) == await p.generate(prompt)
    assert loop.time() - started_s >= 0.5


@pytest.mark.parametrize("params", [{"do_remote_prefill": True}, "too few blocks"])
async def test_nonsense_parameters_kill_the_engine(start_engine: StartEngine, params: object) -> None:
    p, d = await pair(start_engine)
    if params == "too few blocks":
        params = {**await p.prefill(prompt_of(300)), "remote_block_ids": [[1]]}
    status, _ = await d.post("/v1/completions", prompt=prompt_of(300), kv_transfer_params=params)
    assert status == 500
    assert d.engine.life is Life.DEAD
    assert (await d.get("/health"))[0] == 503


async def test_without_a_connector_transfer_parameters_mean_nothing(start_engine: StartEngine) -> None:
    alone = await start_engine(flags=("--kv-transfer-config", "{}"))
    assert len(await alone.generate([5], 3, kv_transfer_params={"do_remote_prefill": True})) == 3
