"""pdctl replay keeps its contract: keys, bytes, bad input in one line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from pdoperator.cli.main import run

PROFILE = ["--profile", "h200-llama-3.1-8b-fp8-tp1"]
KEYS = {
    "policy", "seed", "attainment", "ttft_p50_s", "ttft_p90_s", "ttft_p99_s", "tpot_p50_s", "tpot_p90_s",
    "tpot_p99_s", "goodput_rps_per_gpu", "gpu_hours", "flips", "scale_events", "failed",
}  # fmt: skip


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute and a quarter of some 20 requests per second."""
    random = np.random.default_rng(1)
    arrivals = np.cumsum(random.exponential(0.05, 1500))
    lengths = zip(arrivals, random.integers(100, 3000, 1500), random.integers(1, 300, 1500), strict=True)
    path = tmp_path_factory.mktemp("traces") / "even.csv"
    rows = "\n".join(f"{t:.4f},{i},{o}" for t, i, o in lengths)
    path.write_text(f"arrival_s,input_tokens,output_tokens\n{rows}\n")
    return path


def test_json_has_the_keys_that_scripts_rely_on(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["replay", str(trace), *PROFILE, "--policy", "static:2:2,dyn-load", "--seed", "0", "--seed", "1"]
    assert run([*asked, "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["requests"] == 1500
    assert [(row["policy"], row["seed"]) for row in found["policies"]] == [
        ("static:2:2", 0), ("static:2:2", 1), ("dyn-load", 0), ("dyn-load", 1)]  # fmt: skip
    assert all(row.keys() >= KEYS for row in found["policies"])
    assert found["policies"][0]["attainment"] > 0.99
    assert found["policies"][0]["gpu_hours"] == pytest.approx(4 * 75 / 3600, rel=0.1)
    bound = found["lower_bound"]
    assert bound["attainment"] >= 0.99 * found["policies"][0]["attainable"]
    assert 0 < bound["gpu_hours"] <= found["policies"][0]["gpu_hours"]
    assert found["simulated_rps"] > 0


def test_the_same_seed_gives_the_same_bytes(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def once() -> list[object]:
        asked = ["replay", str(trace), *PROFILE, "--policy", "dyn-load:adjust=20,static-best", "--no-bound"]
        assert run([*asked, "-o", "json"]) == 0
        return list(json.loads(capsys.readouterr().out)["policies"])

    assert once() == once()


def test_nvidias_planner_without_its_environment_is_one_line(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run(["replay", str(trace), *PROFILE, "--policy", "dynamo", "--no-bound"]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "benchmarks/dynamo/install.py" in said


def test_the_table_and_the_report(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.html"
    asked = ["replay", str(trace), *PROFILE, "--policy", "static-best,dyn-load", "--report", str(report)]
    assert run(asked) == 0
    table = capsys.readouterr().out
    assert "static-best = static:" in table
    assert "…" not in table  # figures stay whole, also where the output is no terminal
    page = report.read_text(encoding="utf-8")
    assert page.count("<section") == 4  # compare, two policies, the bound
    for outside in ("http://", "https://", "<script", "@import", "url("):
        assert outside not in page
    assert "nan" not in page


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("a,b,c\n1,2,3\n", "is of no known form"),
        ("arrival_s,input_tokens\n1,2\n", "lacks output_tokens"),
        ("arrival_s,input_tokens,output_tokens\n", "there are no requests"),
        ("arrival_s,input_tokens,output_tokens\n2,10,1\n1,10,1\n", "3: the arrival is earlier"),
        ("arrival_s,input_tokens,output_tokens\n-1,10,1\n", "negative"),
        ("arrival_s,input_tokens,output_tokens\nnan,10,1\n", "finite"),
        ("arrival_s,input_tokens,output_tokens\n1,10,0\n", "at least 1"),
        ("arrival_s,input_tokens,output_tokens\n1,10,1\n1,10,1\n", "same instant"),
    ],
)
def test_a_wrong_trace_is_one_line_and_exit_code_2(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(content)
    refused(["replay", str(path), *PROFILE], message, capsys)


def test_a_truncated_gzip_is_said_to_be_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(b"arrival_s,input_tokens,output_tokens\n1,10,1\n" * 1000)[:-20])
    refused(["replay", str(path), *PROFILE], "truncated", capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "dynload", *PROFILE], "did you mean dyn-load"),
        (["--policy", "static:3", *PROFILE], "write it like static:3:5"),
        (["--policy", "", *PROFILE], "there is no policy"),
        ([], "Missing option '--profile'"),
        (["--profile", "h200"], "neither a file nor a built-in profile"),
        (["--ttft", "2", *PROFILE], "has no unit"),
        (["--gpu-budget", "1", *PROFILE], "does not hold two engines"),
        (["--seed", "-1", *PROFILE], "--seed"),
        (["--report", "/nowhere/report.html", *PROFILE], "there is no folder '/nowhere'"),
    ],
)
def test_wrong_options_are_one_line_and_exit_code_2(
    arguments: list[str], message: str, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(["replay", str(trace), *arguments], message, capsys)


def refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1
