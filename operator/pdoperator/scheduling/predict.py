"""What an engine's work is predicted to take, and when a prompt is better prefilled where it is decoded.

Seconds, by the engine's profile; the simulator's router (sim/kernel/routing.py) decides by the same formulas. DOPD
calls it length-aware scheduling: what counts is how long prompts are, not how many.
"""

from __future__ import annotations

import math

from pdoperator.api import defaults
from pdoperator.api.router_config import EngineCosts
from pdoperator.scheduling.load import Account

# An engine of which nothing is known: all work is in tokens then, which is enough to compare engines.
TOKENS = EngineCosts(
    pass_s=0.0, latency_s=0.0, ttft_b=1.0, ttft_c=0.0, itl_a=0.0, itl_b=0.0, itl_c=1.0,
    max_batch=1, batched_tokens=defaults.BATCHED_TOKENS, kv_tokens=defaults.UNKNOWN_KV_TOKENS, transfer_s_per_token=0.0,
)  # fmt: skip


def prompts_s(costs: EngineCosts, account: Account, deferred: bool = False) -> float:
    """To prefill the prompts that go before a new one there: deferred ones only if it is so too."""
    tokens, squares = account.prompt_tokens, account.prompt_squares
    if not deferred:
        tokens, squares = tokens - account.deferred_tokens, squares - account.deferred_squares
    return _prefill_s(costs, tokens, squares)


def prompt_s(costs: EngineCosts, tokens: int, cached: int) -> float:
    """To prefill a prompt of which so many tokens are cached: those cost nothing but that the others attend to them."""
    return _prefill_s(costs, tokens - cached, tokens**2 - cached**2)


def decode_step_s(costs: EngineCosts, requests: int, context_tokens: int) -> float:
    """One step that decodes a token of each of `requests`, whose contexts together are `context_tokens`."""
    return costs.itl_a + costs.itl_b * requests + costs.itl_c * context_tokens


def next_step_s(costs: EngineCosts, account: Account) -> float:
    """A decode step when all requests that it has been given decode."""
    return decode_step_s(costs, account.requests, account.context_tokens)


def remote_ttft_s(costs: EngineCosts, account: Account, tokens: int, cached: int) -> float:
    """TTFT of a prompt by this prefill engine: the work before it, its own, the transfer, both calls' latency."""
    waits_s = prompts_s(costs, account) + costs.pass_s + 2 * costs.latency_s
    return waits_s + prompt_s(costs, tokens, cached) + costs.transfer_s_per_token * tokens


def local_ttft_s(
    costs: EngineCosts, account: Account, tokens: int, cached: int, deferred: bool = False
) -> float:
    """TTFT of a prompt on this engine alone: its chunks share steps with the decodes there."""
    chunk = max(1, costs.batched_tokens - account.batch)
    before = account.prompt_tokens - (0 if deferred else account.deferred_tokens)
    steps = math.ceil((before + tokens - cached) / chunk)
    step_s = decode_step_s(costs, account.batch, account.context_tokens)
    waits_s = steps * step_s + prompts_s(costs, account, deferred)
    return waits_s + prompt_s(costs, tokens, cached) + costs.latency_s


def late(remote_s: float, ttft_target_s: float) -> bool:
    """Whether a prefill engine comes so near the target that another way is looked for."""
    return remote_s > defaults.LATE_SHARE * ttft_target_s


def others_s(costs: EngineCosts, account: Account, fresh_tokens: int, tpot_target_s: float) -> float:
    """What prompts that come later may add to a TTFT: they fill the step that completes this one, as many as were
    before it, and a decode step of theirs is awaited."""
    before = account.prompt_tokens - account.deferred_tokens
    steps = math.ceil((before + fresh_tokens) / costs.batched_tokens)
    later = min(steps * costs.batched_tokens - before - fresh_tokens, before)
    return (steps - 1) * costs.pass_s + costs.ttft_b * later + tpot_target_s


def has_room(costs: EngineCosts, account: Account, tokens: int, tpot_target_s: float) -> bool:
    """Whether a decode engine can take one more prompt: batch and KV cache have room, steps with it keep the target."""
    batch = account.requests + 1
    context_tokens = account.context_tokens + account.prompt_kv_tokens + tokens
    fits = batch <= costs.max_batch and context_tokens <= costs.kv_tokens
    return fits and decode_step_s(costs, batch, context_tokens) <= tpot_target_s


def _prefill_s(costs: EngineCosts, tokens: int, squares: int) -> float:
    return costs.ttft_b * tokens + costs.ttft_c * squares
