"""Trace files: every published form is read alike, and what is wrong with a file is one line that says where."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from pdoperator.sim.traffic import loaders, reading
from pdoperator.sim.traffic.loaders import load
from pdoperator.sim.traffic.trace import TraceError

DEMO = Path(__file__).parents[3] / "e2e" / "demo" / "traces"
HEADER = "arrival_s,input_tokens,output_tokens\n"

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
2023-11-17 18:17:04.0319600,110,27
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:01+00:00,2399,6
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,Conversation log
45,GPT-4,417,276,693,API log
45,GPT-4,418,277,695,API log
"""
MOONCAKE = """{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, 48]}
{"timestamp": 27482, "input_length": 1024, "output_length": 26, "hash_ids": [46, 47]}
{"timestamp": 30535, "input_length": 900, "output_length": 26, "hash_ids": [46, 47]}
{"timestamp": 30535, "input_length": 6000, "output_length": 7, "hash_ids": [9, 46]}
"""


def written(path: Path, text: str, packed: bool = False) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_c1_our_csv_is_read_with_more_columns_in_any_order(
    tmp_path: Path, packed: bool, line_end: str
) -> None:
    text = 'client,output_tokens,arrival_s,input_tokens\na,7,0.5,100\n\n"b,c",8,4.25,200\n'
    trace = load(written(tmp_path / "mine.csv.gz", text.replace("\n", line_end), packed))
    assert trace.name == "mine"
    assert trace.arrival_s.tolist() == [0.5, 4.25]
    assert trace.input_tokens.tolist() == [100, 200]
    assert trace.output_tokens.tolist() == [7, 8]
    assert trace.cached_tokens.tolist() == [0, 0]
    assert (len(trace), trace.span_s) == (2, 4.25)


def test_the_time_of_a_wall_clock_is_no_quiet_beginning(tmp_path: Path) -> None:
    trace = load(written(tmp_path / "a.csv", HEADER + "1700000000.5,1,1\n1700000002,1,1\n"))
    assert trace.arrival_s.tolist() == [0, 1.5]


def test_c1_hit_blocks_of_512_tokens_become_cached_tokens_up_to_the_prompt(tmp_path: Path) -> None:
    text = "arrival_s,input_tokens,output_tokens,prefix_hit_blocks_inf\n0,2000,5,3\n1,1000,5,2\n2,10,5,0\n"
    assert load(written(tmp_path / "a.csv", text)).cached_tokens.tolist() == [1536, 1000, 0]


@pytest.mark.parametrize(("text", "arrivals"), [(AZURE, [0, 0.052, 86400.052]), (AZURE_2024, [0, 0.99007])])
def test_c1_azures_dates_become_seconds_since_the_first_request(
    tmp_path: Path, text: str, arrivals: list[float]
) -> None:
    trace = load(written(tmp_path / "AzureLLMInferenceTrace_code.csv", text))
    assert trace.arrival_s == pytest.approx(arrivals, abs=1e-6)


def test_c1_burstgpts_failures_are_dropped_and_its_seconds_spread(tmp_path: Path) -> None:
    trace = load(written(tmp_path / "BurstGPT_1.csv", BURSTGPT))
    assert trace.input_tokens.tolist() == [472, 417, 418]
    assert trace.arrival_s.tolist() == [0, 40, 40.5]


def test_c1_mooncakes_hash_ids_become_cached_tokens_and_its_steps_are_spread(tmp_path: Path) -> None:
    trace = load(written(tmp_path / "conversation_trace.jsonl", MOONCAKE))
    assert trace.cached_tokens.tolist() == [0, 1024, 900, 0]
    assert trace.arrival_s == pytest.approx([0, 1.5, 3.053, 4.553])
    assert trace.output_tokens.tolist() == [52, 26, 26, 7]


def test_the_slices_in_this_repository_load() -> None:
    code, conversation = load(DEMO / "azure2023_code.csv"), load(DEMO / "azure2023_conv.csv")
    assert code.name == "azure2023_code"
    assert np.median(code.output_tokens) < np.median(conversation.output_tokens)


def test_a_file_read_in_many_blocks_is_the_same_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{i / 7:.3f},{i % 900 + 1},{i % 31 + 1}" for i in range(2000)]
    path = written(tmp_path / "a.csv", HEADER + "\n".join(rows))
    whole = load(path)
    split = reading.blocks
    monkeypatch.setattr(
        loaders, "blocks", lambda path, after_line=0: split(path, after_line, block_bytes=100)
    )
    parts = load(path)
    for name in ("arrival_s", "input_tokens", "output_tokens"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_what_is_unsorted_only_from_block_to_block_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = reading.blocks
    monkeypatch.setattr(loaders, "blocks", lambda path, after_line=0: split(path, after_line, block_bytes=64))
    path = written(tmp_path / "a.csv", HEADER + "5,1,1\n" * 40)
    second = list(split(path, after_line=1, block_bytes=64))[1].first_line
    written(path, HEADER + "5,1,1\n" * (second - 2) + "4,1,1\n" * (42 - second))
    with pytest.raises(TraceError, match=f":{second}: the arrival is earlier"):
        load(path)


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 0, "empty"),
        ("\n\n", 0, "empty"),
        (HEADER, 0, "no requests"),
        ("a,b,c\n1,2,3\n", 1, "of no known form: arrival_s,input_tokens,output_tokens"),
        ("arrival_s,input_tokens\n1,2\n", 1, "the header lacks output_tokens"),
        ("TIMESTAMP,ContextTokens\n2023-11-16,2\n", 1, "the header lacks GeneratedTokens"),
        (HEADER + "0,1,1\n2,1,1\n1,1,1\n", 4, "earlier than that of the line before"),
        (HEADER + "-1,1,1\n", 2, "arrival is negative"),
        (HEADER + "0,1,1\n\nnan,1,1\n", 4, "arrival is not a finite number"),
        (HEADER + "inf,1,1\n", 2, "arrival is not a finite number"),
        (HEADER + "0,nan,1\n", 2, "input tokens: not a finite number"),
        (HEADER + "0,-5,1\n", 2, "input tokens must be at least 1"),
        (HEADER + "0,5,1\n1,5,0\n", 3, "output tokens must be at least 1"),
        (HEADER + "0,5,1.5\n", 2, "output tokens: not a whole number"),
        (HEADER + "0,5e9,1\n", 2, "input tokens: more than 2,147,483,647"),
        (HEADER + "0,5,1\n\n1,x,1\n", 4, "could not convert string 'x'"),
        (HEADER + "0,5,1\n1,5\n", 3, "too few columns"),
        (HEADER + "0,5,\n", 2, "could not convert string ''"),
        (AZURE + "2023-11-32 00:00:00,1,1\n", 5, "'2023-11-32 00:00:00' is no date"),
        (AZURE + "2023-11-16 00:00:00,1,1\n", 5, "earlier than that of the line before"),
        (BURSTGPT + "50,GPT-4,0,3,3,API log\n", 6, "input tokens must be at least 1"),
        ("Timestamp,Request tokens,Response tokens\n5,3,0\n", 0, "no requests"),
        (MOONCAKE + '{"timestamp": 31000, "input_length": 5}\n', 5, "lacks output_length"),
        (MOONCAKE + "0,1,2\n", 5, "'0,1,2' is no request of Mooncake's form"),
        (MOONCAKE + '{"timestamp": 0, "input_length": 5, "output_length": 5}', 5, "earlier than that"),
        (MOONCAKE + '{"timestamp": 40000, "input_length": 5, "output_length": 0}', 5, "output tokens must be"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_trace_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, what: str
) -> None:
    path = written(tmp_path / "bad.csv", text)
    with pytest.raises(TraceError, match=what) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (gzip.compress((HEADER + "0,1,1\n" * 9999).encode(), mtime=0)[:-20], "gzip file is truncated"),
        (gzip.compress(HEADER.encode(), mtime=0)[:5], "gzip file is truncated"),
        (gzip.compress(HEADER.encode(), mtime=0)[:10] + b"\xff" * 40, "gzip file is damaged"),
        (HEADER.encode() + b"0,1,\xff\n", "bad.csv:2: is not text in UTF-8"),
        (b"\x00" * 100, "of no known form"),
        (HEADER.encode() + b"0" * (reading.BLOCK_BYTES + 2), "bad.csv:2: the line is longer than"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=what):
        load(path)


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_what_cannot_be_opened_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TraceError, match="cannot be read"):
        load(tmp_path / name)


def test_a_trace_larger_than_memory_is_refused_before_it_fills_it(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", HEADER + "0,1,1\n" * 1000)
    with pytest.raises(TraceError, match=r"more than 1,000 requests do not fit into the 4e-05 GB"):
        load(path, memory_bytes=40_000)
    assert len(load(path, memory_bytes=100_000)) == 1000
