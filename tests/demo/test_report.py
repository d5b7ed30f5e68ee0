"""What the demo concludes from what it saw."""

from __future__ import annotations

from typing import Any

import pytest

from demo.report import flips, followed, percentile, problems
from demo.traffic import Answer, Phase, Request

CHAT = Phase("chat", 10, "decode", (Request(0, 20, 100),))
DOCUMENTS = Phase("documents", 10, "prefill", (Request(0, 900, 5),))


def point(t_s: float, prefill: int, decode: int) -> dict[str, Any]:
    return {"t_s": t_s, "prefill": prefill, "decode": decode}


FOLLOWED = [point(1, 1, 1), point(8, 1, 2), point(12, 1, 2), point(18, 2, 1)]


def seen(timeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return followed([CHAT, DOCUMENTS], [0.0, 10.0], timeline)


def report(**changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        "requests": {"sent": 3, "answered": 3, "failed": 0},
        "errors": [],
        "kv_tokens_transferred": 10,
        "outputs": {"compared": 2, "equal": 2},
        "phases": seen(FOLLOWED),
    }
    return good | changes


def test_a_run_that_kept_its_promises_has_no_problems() -> None:
    assert problems(report()) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"requests": {"sent": 3, "answered": 2, "failed": 1}}, "1 of 3 requests failed"),
        ({"requests": {"sent": 0, "answered": 0, "failed": 0}}, "0 of 0 requests failed"),
        ({"kv_tokens_transferred": 0}, "no KV"),
        ({"outputs": {"compared": 2, "equal": 1}}, "only 1 of 2 outputs"),
        ({"phases": seen(FOLLOWED[:3])}, "phase documents: there were never more prefill engines"),
        ({"phases": seen([point(1, 2, 1), FOLLOWED[3]])}, "phase chat: there were never more decode engines"),
        ({"phases": seen([point(1, 1, 1), point(12, 1, 1)])}, "phase chat"),
    ],
)
def test_every_promise_that_was_not_kept_is_named(changes: dict[str, Any], named: str) -> None:
    assert any(named in problem for problem in problems(report(**changes)))


def test_a_phase_is_judged_by_its_own_time() -> None:
    chat, documents = seen([point(11, 1, 2), point(18, 2, 1)])
    assert (chat["followed_after_s"], documents["followed_after_s"]) == (None, 8)


def test_flips_are_read_from_their_events() -> None:
    events = [
        {"reason": "RoleFlipped", "message": "tiny-engine-1: decode to prefill in 1.1 s"},
        {"reason": "EngineDrained", "message": "tiny-engine-1 drained in 2.0 s"},
    ]
    assert flips(events) == [{"pod": "tiny-engine-1", "to": "prefill", "seconds": 1.1}]


def test_latencies_follow_the_words_of_the_field() -> None:
    answer = Answer(sent_s=1.0, input_tokens=5, first_s=1.5, last_s=2.5, output_tokens=6)
    assert (answer.ttft_s, answer.tpot_s) == (0.5, 0.2)
    assert Answer(1.0, 5, first_s=1.5, last_s=1.5, output_tokens=1).tpot_s is None
    assert Answer(1.0, 5).ttft_s is None


def test_a_percentile_of_nothing_is_unknown() -> None:
    assert percentile([], 0.9) is None
    assert percentile([3, 1, 2], 0.5) == 2
