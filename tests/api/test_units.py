"""Kubernetes' notations become plain numbers."""

from __future__ import annotations

import pytest

from pdoperator.api.units import ratio, seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("80ms", 0.08), ("2s", 2.0), ("1h30m", 5400.0), ("1m1.5s", 61.5), ("0s", 0.0), ("600s", 600.0)],
)
def test_durations_become_seconds(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "2", "s", "-1s", "1 s", "1d", "1s2"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="80ms, 2s or 1h30m"):
        seconds(text)


def test_a_ratio_is_prefill_first() -> None:
    assert ratio("1:4") == (1, 4)


@pytest.mark.parametrize("text", ["", "1", "0:1", "1:0", "1-4", "a:b", "1:2:3", "12345:1"])
def test_what_is_no_ratio_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="1:4, prefill first"):
        ratio(text)
