"""The statistics of traces: on small ones by hand, on the published ones to the digits that are stated of them."""

from __future__ import annotations

import gzip
import json
import math
import os
from pathlib import Path

import pytest

from pdoperator.sim.traffic.loaders import load
from pdoperator.sim.traffic.statistics import TraceStatistics, statistics
from sim.traffic.traces import DEMO, trace

# The folder of the published traces; they are too large for this repository.
PUBLISHED_TRACES = Path(os.environ.get("PD_TRACES", ""))
ABSENT = "the published traces are not in this repository; PD_TRACES names the folder that has them"


def test_figures_of_a_trace_by_hand() -> None:
    figures = statistics(trace([0.0, 1.0, 2.0, 12.0, 25.0, 65.0]))
    assert (figures.requests, figures.span_s, figures.rate_rps) == (6, 65.0, 6 / 65)
    assert (figures.count_10s_mean, figures.count_10s_max) == (5 / 6, 3)
    assert figures.peak_to_mean_1min == 1.0
    assert figures.fano_10s == pytest.approx(
        ((3 - 5 / 6) ** 2 + 2 * (1 / 6) ** 2 + 3 * (5 / 6) ** 2) / 6 / (5 / 6)
    )
    assert (figures.input.mean, figures.input.p50, figures.input.max) == (12.5, 12.5, 15)
    assert figures.rank_correlation == pytest.approx(1)
    assert figures.io_tokens == pytest.approx(75 / 21)
    assert figures.cached_share == pytest.approx(15 / 75)


def test_a_single_request_has_no_spread() -> None:
    figures = statistics(trace([3.0]))
    assert math.isnan(figures.arrival_cv)
    assert math.isnan(figures.rank_correlation)
    assert figures.count_10s_max == 1


# Requests, span in hours, requests per second, peak/mean of minutes, CV of inter-arrival times, Fano factor of 10 s
# counts; mean, p50, p90, p99 of input and output tokens; Spearman, input per output token, by minutes at 5, 50, 95 %.
PUBLISHED = {
    "azure2023_code": (
        7491, "0.66", "3.131", "3.38", "12.57", "70.2", (2040, 1465, 5177, 7436), (28, 13, 55, 248),
        "-0.016", "73.96", ("52.0", "79.8", "100.0"),
    ),
    "azure2023_conv": (
        14176, "0.67", "5.907", "1.43", "1.08", "3.5", (1195, 1015, 4074, 4121), (201, 115, 421, 598),
        "0.033", "5.93", ("3.8", "5.4", "10.8"),
    ),
    "azure2024_code_semisynth_1of25": (
        422188, "120.00", "0.977", "4.59", "1.76", "8.8", (2443, 1873, 6074, 7743), (24, 8, 43, 270),
        "0.001", "103.27", ("50.0", "118.5", "255.6"),
    ),
    "azure2024_conv_semisynth_1of25": (
        829304, "120.00", "1.92", "2.05", "1.1", "2.6", (1607, 898, 3775, 6634), (105, 41, 337, 725),
        "0.004", "15.24", ("11.1", "15.2", "20.8"),
    ),
    "mooncake_arxiv_first1000": (
        1000, "0.05", "5.647", "1.03", "4.03", "4.4", (9792, 6558, 19789, 77828), (199, 34, 534, 831),
        "0.201", "49.19", ("48.5", "48.7", "49.0"),
    ),
    "mooncake_conversation": (
        12031, "0.98", "3.401", "1.21", "3.03", "2.1", (12035, 6909, 27367, 85400), (343, 350, 597, 1118),
        "0.072", "35.13", ("29.1", "35.3", "44.4"),
    ),
    "servegen_deepseek-r1_synth": (
        345624, "24.00", "4.0", "2.92", "1.57", "13.7", (1266, 208, 2077, 23449), (1530, 791, 3450, 12575),
        "-0.378", "0.83", ("0.3", "0.9", "2.5"),
    ),
    "servegen_m-large_synth": (
        1026462, "216.00", "1.32", "4.33", "1.3", "4.2", (878, 634, 2365, 3470), (154, 52, 459, 863),
        "0.196", "5.7", ("1.3", "6.5", "17.0"),
    ),
    "servegen_m-mid_synth": (
        869667, "216.00", "1.118", "9.4", "15.74", "8.8", (336, 174, 798, 3043), (55, 34, 108, 419),
        "0.041", "6.12", ("3.5", "6.1", "13.9"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_c1_published_traces_have_their_published_statistics(name: str) -> None:
    path = PUBLISHED_TRACES / f"{name}.csv.gz"
    if not path.is_file():
        pytest.skip(ABSENT)
    trace, published = load(path), PUBLISHED[name]
    figures = statistics(trace)
    assert figures.requests == published[0]
    scalars = (figures.span_s / 3600, *_scalars(figures))
    for value, text in zip(scalars, published[1:6], strict=True):
        assert isinstance(text, str)
        assert value == pytest.approx(float(text), abs=_half_a_digit(text))
    for length, expected in ((figures.input, published[6]), (figures.output, published[7])):
        assert isinstance(expected, tuple)
        assert (length.mean, length.p50, length.p90, length.p99) == pytest.approx(expected, abs=1)
    rank, tokens, minutes = published[8:]
    assert figures.rank_correlation == pytest.approx(float(str(rank)), abs=_half_a_digit(str(rank)))
    assert figures.io_tokens == pytest.approx(float(str(tokens)), abs=_half_a_digit(str(tokens)))
    assert figures.io_tokens_1min == pytest.approx([float(x) for x in minutes], abs=0.05001)


def _scalars(figures: TraceStatistics) -> tuple[float, float, float, float]:
    return figures.rate_rps, figures.peak_to_mean_1min, figures.arrival_cv, figures.fano_10s


def _half_a_digit(text: str) -> float:
    return 0.5001 * 10.0 ** -len(text.partition(".")[2])


def test_c1_mooncakes_hash_ids_give_the_hit_blocks_that_its_csv_has(tmp_path: Path) -> None:
    source = PUBLISHED_TRACES / "mooncake_arxiv_first1000_hash_ids.jsonl.gz"
    if not source.is_file():
        pytest.skip(ABSENT)
    csv = load(PUBLISHED_TRACES / "mooncake_arxiv_first1000.csv.gz")
    hash_ids = [json.loads(line)["hash_ids"] for line in gzip.decompress(source.read_bytes()).splitlines()]
    lines = [
        json.dumps({"timestamp": round(t * 1000), "input_length": i, "output_length": o, "hash_ids": ids})
        for t, i, o, ids in zip(
            csv.arrival_s.tolist(),
            csv.input_tokens.tolist(),
            csv.output_tokens.tolist(),
            hash_ids,
            strict=True,
        )
    ]
    path = tmp_path / "mooncake_trace.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    trace = load(path)
    assert trace.cached_tokens.tolist() == csv.cached_tokens.tolist()
    assert len(set(trace.arrival_s.tolist())) == len(trace)


@pytest.mark.parametrize(
    ("name", "requests", "input_mean", "input_p50", "output_mean", "output_p50", "io_tokens"),
    [
        ("azure2023_code", 120, 1667.7, 1336.5, 29.4, 14, 56.7),
        ("azure2023_conv", 240, 1120.6, 1007, 246.4, 196.5, 4.5),
    ],
)
def test_c1_the_slices_in_this_repository_keep_the_character_of_their_traces(
    name: str,
    requests: int,
    input_mean: float,
    input_p50: float,
    output_mean: float,
    output_p50: float,
    io_tokens: float,
) -> None:
    figures = statistics(load(DEMO / f"{name}.csv"))
    assert figures.requests == requests
    assert (figures.input.mean, figures.output.mean) == pytest.approx((input_mean, output_mean), abs=0.05)
    assert (figures.input.p50, figures.output.p50) == (input_p50, output_p50)
    assert figures.io_tokens == pytest.approx(io_tokens, abs=0.05)
