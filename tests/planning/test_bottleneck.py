"""Which side limits the service, and the figures that say so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.reasons import Bottleneck
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.forecast.demand import Demand
from pdoperator.planning.bottleneck import Finding, find_bottleneck
from pdoperator.planning.observation import EngineView, PrefillTimes, Transfers
from planning.fleet import busy, engine, fleet, observation, settings, unread

LOAD = Demand(3.0, 512, 64)
LONG_PROMPTS = Demand(3.0, 4096, 64)  # 2.9 s alone
CALM = fleet(4, 2)


def found(engines: tuple[EngineView, ...], wanted: tuple[int, int] = (1, 1), **seen: Any) -> Finding:
    demand = seen.pop("demand", LOAD)
    return find_bottleneck(settings(), observation(demand, engines=engines, **seen), PerRole(*wanted))


@pytest.mark.parametrize(
    ("engines", "seen", "bottleneck", "evidence"),
    [
        pytest.param(CALM, {}, Bottleneck.NONE, (), id="nothing is"),
        pytest.param(
            fleet(4, 2, decode_kv_use=0.94),
            {},
            Bottleneck.DECODE,
            ("KV of 2 decode engines is 94% full (limit 90%)",),
            id="decode's KV is full",
        ),
        pytest.param(
            fleet(4, 2, decode_kv_use=0.94, prefill_exporting=7, prefill_kv_use=1.0, prefill_waiting=30),
            {},
            Bottleneck.DECODE,
            ("KV of 2 decode engines is 94% full (limit 90%)", "28 finished prefills wait for it"),
            id="prefill holds KV that decode has no room for",
        ),
        pytest.param(
            fleet(4, 2, prefill_exporting=7, prefill_kv_use=1.0, prefill_waiting=30),
            {},
            Bottleneck.KV_TRANSFER,
            ("7.0 finished prefills per engine wait to be fetched (limit 5), though decode has room",),
            id="prefill holds KV that decode has room for",
        ),
        pytest.param(
            CALM,
            {"transfers": Value(Transfers(done=90, failed=6, expired=4))},
            Bottleneck.KV_TRANSFER,
            ("10 of 100 KV transfers failed or came too late",),
            id="transfers fail",
        ),
        pytest.param(
            CALM, {"transfers": Value(Transfers(done=99, failed=1))}, Bottleneck.NONE, (), id="one fails"
        ),
        pytest.param(
            fleet(4, 2, prefill_waiting=6.2),
            {},
            Bottleneck.PREFILL,
            ("6.2 requests wait per prefill engine (limit 5)",),
            id="requests wait for prefill",
        ),
        pytest.param(
            fleet(4, 2, decode_waiting=5, prefill_waiting=1),
            {},
            Bottleneck.DECODE,
            ("5.0 requests wait per decode engine (limit 5)",),
            id="requests wait for decode",
        ),
        pytest.param(
            CALM,
            {"tpot_s": Value(0.1)},
            Bottleneck.DECODE,
            ("TPOT 100 ms is beyond its target of 80 ms",),
            id="tokens come too slowly",
        ),
        pytest.param(
            CALM,
            {"ttft_s": Value(3.0)},
            Bottleneck.ROUTER,
            (
                "TTFT 3.00 s is beyond its target of 2 s, and prefill has no queue",
                "requests wait before they reach an engine",
            ),
            id="first tokens come too late, and no engine has a queue",
        ),
        *(
            pytest.param(
                CALM,
                {"ttft_s": Value(3.0), "prefill_times": Value(PrefillTimes(wait_s, service_s))},
                bottleneck,
                ("TTFT 3.00 s is beyond its target of 2 s, and prefill has no queue", *evidence),
                id=name,
            )
            for name, wait_s, service_s, bottleneck, evidence in (
                (
                    "most of the time passes before the engines",
                    0.1,
                    0.4,
                    Bottleneck.ROUTER,
                    (
                        "requests wait before they reach an engine",
                        "prompts wait 0.10 s in front of prefill engines and take 0.40 s there",
                    ),
                ),
                (
                    "prompts have waited at the engines, though none does now",
                    2.1,
                    0.4,
                    Bottleneck.PREFILL,
                    ("prompts wait 2.10 s in front of prefill engines and take 0.40 s there",),
                ),
                (
                    "the engines' own work takes that long",
                    0.1,
                    2.4,
                    Bottleneck.NONE,
                    ("prompts wait 0.10 s in front of prefill engines and take 2.40 s there",),
                ),
            )
        ),
        pytest.param(
            CALM,
            {"ttft_s": Value(3.0), "demand": LONG_PROMPTS},
            Bottleneck.NONE,
            (
                "TTFT 3.00 s is beyond its target of 2 s, and prefill has no queue",
                "a prompt of mean length takes 2.89 s alone: more prefill engines cannot shorten that",
            ),
            id="prompts are too long for the target",
        ),
    ],
)
def test_what_is_measured(
    engines: tuple[EngineView, ...], seen: dict[str, Any], bottleneck: Bottleneck, evidence: tuple[str, ...]
) -> None:
    assert found(engines, **seen) == Finding(bottleneck, evidence)


@pytest.mark.parametrize(
    ("ready", "wanted", "bottleneck", "evidence"),
    [
        ((4, 1), (4, 1), Bottleneck.NONE, ()),
        ((1, 1), (4, 1), Bottleneck.PREFILL, ("1 of 4 prefill engines needed are ready",)),
        ((4, 0), (4, 1), Bottleneck.DECODE, ("0 of 1 decode engine needed are ready",)),
        ((9, 9), (4, 1), Bottleneck.NONE, ()),
    ],
)
def test_without_such_signs_it_is_the_role_that_lacks_most_ready_engines(
    ready: tuple[int, int], wanted: tuple[int, int], bottleneck: Bottleneck, evidence: tuple[str, ...]
) -> None:
    engines = (*fleet(*ready), engine("starting", Role.PREFILL, ready=False))
    assert found(engines, wanted) == Finding(bottleneck, evidence)


def test_engines_that_could_not_be_read_are_not_taken_for_idle_ones() -> None:
    seen = busy("p", Role.PREFILL, waiting=9)
    assert found((seen, *unread(Role.PREFILL, 3))).bottleneck is Bottleneck.PREFILL


def test_old_readings_tell_nothing() -> None:
    old = defaults.METRICS_MAX_AGE_S + 1
    stale = replace(busy("p", Role.PREFILL), waiting=Value(99.0, old))
    assert found((stale, *fleet(0, 1))).bottleneck is Bottleneck.NONE
    assert found(CALM, tpot_s=Value(9.0, old), demand=Missing("away")).bottleneck is Bottleneck.NONE
