"""What the demo concludes from what it saw."""

from __future__ import annotations

from typing import Any

import pytest

from demo.report import flips, percentile, problems, ratio_problems
from demo.traffic import Answer

CHAT = {"name": "chat", "seconds": 10, "rate_rps": 1, "calls_for": "decode"}
DOCUMENTS = {"name": "documents", "seconds": 10, "rate_rps": 1, "calls_for": "prefill"}


def point(t_s: float, prefill: int, decode: int) -> dict[str, Any]:
    return {"t_s": t_s, "prefill": prefill, "decode": decode}


FOLLOWED = [point(1, 1, 1), point(8, 1, 2), point(12, 1, 2), point(18, 2, 1)]


def report(**changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        "requests": {"sent": 3, "answered": 3, "failed": 0},
        "errors": [],
        "kv_tokens_transferred": 10,
        "outputs": {"compared": 2, "equal": 2},
        "timeline": FOLLOWED,
        "phases": [CHAT, DOCUMENTS],
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
        ({"timeline": FOLLOWED[:3]}, "phase documents: there were never more prefill engines"),
        ({"timeline": [point(1, 2, 1), FOLLOWED[3]]}, "phase chat: there were never more decode engines"),
        ({"timeline": [point(1, 1, 1), point(12, 1, 1)]}, "phase chat"),
    ],
)
def test_every_promise_that_was_not_kept_is_named(changes: dict[str, Any], named: str) -> None:
    assert any(named in problem for problem in problems(report(**changes)))


def test_a_phase_is_judged_by_its_own_time() -> None:
    late = [point(11, 1, 2), point(18, 2, 1)]
    assert len(ratio_problems(late, [CHAT, DOCUMENTS])) == 1


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
