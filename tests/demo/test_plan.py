from __future__ import annotations

import pytest

from demo.plan import pace, phases


@pytest.mark.parametrize(
    ("engine", "compare_s", "expected"),
    [("vllm", 6.0, 1.0), ("vllm", 12.0, 1.0), ("vllm", 18.0, 1.5), ("vllm", 600.0, 3.0), ("sim", 600.0, 1.0)],
)
def test_slow_engines_get_their_traffic_more_slowly(engine: str, compare_s: float, expected: float) -> None:
    assert pace(engine, compare_s) == expected


def test_at_another_pace_the_same_requests_come_later() -> None:
    for usual, slow in zip(phases("vllm"), phases("vllm", 2.0), strict=True):
        assert slow.seconds == 2 * usual.seconds
        assert [(r.input_tokens, r.output_tokens) for r in slow.requests] == [
            (r.input_tokens, r.output_tokens) for r in usual.requests
        ]
        assert slow.requests[-1].at_s == pytest.approx(2 * usual.requests[-1].at_s)
