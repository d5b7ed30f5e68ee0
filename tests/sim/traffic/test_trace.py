"""What a trace may be."""

from __future__ import annotations

import numpy as np
import pytest

from pdoperator.sim.traffic.trace import Trace
from sim.traffic.traces import trace

ONE = np.array([1], np.int32)


def test_its_arrays_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        trace([0.0, 1.0]).arrival_s[0] = 5.0


@pytest.mark.parametrize(
    ("arrival_s", "input_tokens", "output_tokens", "cached_tokens", "what"),
    [
        ([], [], [], [], "has no requests"),
        ([0.0, 1.0], [1], [1, 1], [0, 0], "2 arrivals and 1 lengths"),
        ([1.0, 0.0], [1, 1], [1, 1], [0, 0], "must be sorted"),
        ([-1.0], [1], [1], [0], "not negative"),
        ([np.nan], [1], [1], [0], "finite"),
        ([0.0], [0], [1], [0], "no input or no output"),
        ([0.0], [1], [0], [0], "no input or no output"),
        ([0.0], [1], [1], [2], "between 0 and the input"),
        ([0.0], [1], [1], [-1], "between 0 and the input"),
    ],
)
def test_what_cannot_be_a_trace_is_refused(
    arrival_s: list[float],
    input_tokens: list[int],
    output_tokens: list[int],
    cached_tokens: list[int],
    what: str,
) -> None:
    columns = [np.array(x, np.int32) for x in (input_tokens, output_tokens, cached_tokens)]
    with pytest.raises(ValueError, match=what):
        Trace.of("bad", np.array(arrival_s), *columns)
