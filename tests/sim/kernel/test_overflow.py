"""Prompts that decode engines prefill for themselves when prefill comes near the TTFT target."""

from __future__ import annotations

import numpy as np

from pdoperator.capacity.profile import Fit, Profile
from pdoperator.sim.kernel import state as k
from pdoperator.sim.scenario import LocalPrefill, RouterOptions
from pdoperator.sim.traffic.trace import Trace
from sim.kernel.engines import served

LAZY = RouterOptions(local_prefill=LocalPrefill.LAZY)
# Five prompts at once, half a second each: prefill alone would take two and a half.
AT_ONCE = Trace.of("at once", np.zeros(5), np.full(5, 500), np.full(5, 10))


def _local(kv_tokens: int) -> int:
    profile = Profile(Fit(0.0, 1e-3), Fit(1e-3), kv_tokens, 64)
    return int(served(AT_ONCE, profile, [k.PREFILL, k.DECODE], LAZY).requests["local"].sum())


def test_a_decode_engine_with_room_takes_what_prefill_would_be_late_with() -> None:
    assert _local(kv_tokens=100_000) == 2


def test_a_decode_engine_without_room_takes_no_prompt_that_would_only_wait_there() -> None:
    assert _local(kv_tokens=1_000) == 1
