"""pdctl size keeps its contract: the published examples to their digits, and one clear line for bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pdoperator.capacity.builtin import BUILTIN
from pdoperator.cli.main import run
from pdoperator.sim.traffic.loaders import load

DEMO = Path(__file__).parents[2] / "e2e" / "demo" / "traces"
CURVE = "10:12.8ms,20:16.4ms,30:18.8ms,40:21.6ms,50:23.9ms,60:26.2ms"
LENGTHS = ["--isl", "6144", "--osl", "512"]
TARGETS = ["--ttft", "2s", "--tpot", "20ms", "--overhead", "0.1s"]
ENGINE = ["--prefill-throughput", "28309", "--decode-curve", CURVE]
PAPER = ["size", *LENGTHS, "--tpm", "5000000", *TARGETS, *ENGINE]
DOPD = [
    "size", "--isl", "1024.4", "--osl", "245.3", "--requests", "400", "--prefill-latency", "0.15s",
    "--decode-latency", "35ms", "--kv-blocks", "2040", "--block-size", "128",
]  # fmt: skip


def document(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    code = run([*arguments, "-o", "json"])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return json.loads(out)


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    assert run(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pdctl: ")
    assert err.count("\n") == 1
    return err


def test_the_mm1_papers_example(capsys: pytest.CaptureFixture[str]) -> None:
    methods = document(PAPER, capsys)["methods"]
    mm1 = methods["mm1"]
    expected = {
        "prefill": 3.068, "decode": 3.791, "prefill_tokens_per_s": 25_075.3, "decode_tokens_per_s": 1_690.95,
        "rho": 0.8858, "ratio": 0.809, "prefill_replicas": 4, "decode_replicas": 4,
    }  # fmt: skip
    assert {key: mm1[key] for key in expected} == pytest.approx(expected, rel=3e-4)
    assert (mm1["nearest"]["prefill_replicas"], mm1["nearest"]["decode_replicas"]) == (3, 4)
    assert methods["mm1-percentile"]["prefill"] == pytest.approx(3.69, abs=0.005)
    assert set(methods) >= {"mm1", "mm1-percentile", "mg1", "dopd"}


def test_dopds_vectors(capsys: pytest.CaptureFixture[str]) -> None:
    methods = document(DOPD, capsys)["methods"]
    expected = {
        "sequence_blocks": 9, "max_concurrency": 226, "ratio": 3.949, "prefill_replicas": 4, "decode_replicas": 2,
    }  # fmt: skip
    release = methods["dopd-release"]
    assert {key: release[key] for key in expected} == pytest.approx(expected, rel=3e-4)
    for faithful in (methods["dopd"], methods["dopd-paper"]):
        assert (faithful["prefill_replicas"], faithful["decode_replicas"]) == (8, 2)


def test_methods_that_lack_an_input_say_which(capsys: pytest.CaptureFixture[str]) -> None:
    assert document(DOPD, capsys)["skipped"]["mm1"] == "needs a TTFT target"


def test_a_rate_and_tokens_per_minute_ask_for_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    by_rate = document(["size", *LENGTHS, "--rps", str(5e6 / 60 / 6656), *TARGETS, *ENGINE], capsys)
    assert by_rate == document(PAPER, capsys)


@pytest.mark.parametrize("fleet", ["3:3", "3P3D", "3P:3D", "3p3d"])
def test_a_fleet_is_answered_with_what_it_takes_and_what_binds(
    fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = document(["size", *LENGTHS, *TARGETS, *ENGINE, "--fleet", fleet], capsys)["fleet"]
    assert answer["binding"] == "decode"
    assert answer["tokens_per_min"] == pytest.approx(3.957e6, rel=1e-3)


def test_a_built_in_profile_answers_by_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["size", "--isl", "2048", "--osl", "256", "--rps", "50", "--ttft", "1s", "--tpot", "25ms"]
    result = document([*arguments, "--profile", "h200-llama-3.1-8b-fp8-tp1"], capsys)
    assert result["skipped"] == {}


def test_yaml_holds_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    expected = document(PAPER, capsys)
    assert run([*PAPER, "-o", "yaml"]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert found == expected
    assert list(found["methods"]["mm1"]) == list(expected["methods"]["mm1"])


def test_a_ttft_without_end_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    overloaded = document(["size", *LENGTHS, "--tpm", "2364000", *TARGETS, *ENGINE], capsys)
    nearest = overloaded["methods"]["mm1"]["nearest"]
    assert (nearest["prefill_replicas"], nearest["ttft_s"], nearest["meets_targets"]) == (1, None, False)


def test_the_table_shows_every_method_and_what_was_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*PAPER, "--fleet", "3:3"]) == 0
    out = capsys.readouterr().out
    for text in (
        "mm1-percentile",
        "3.068",
        "3.791",
        "25,075",
        "4P:4D",
        "3P:4D misses",
        "3P:3D takes",
        "decode binds",
    ):
        assert text in out
    assert "dopd-release: needs KV blocks" in out


@pytest.mark.parametrize(
    ("arguments", "guess"),
    [
        (["--ttft", "2000"], "'2000' has no unit; did you mean 2000ms?"),
        (["--tpot", "0.02"], "'0.02' has no unit; did you mean 0.02s?"),
        (["--tpot", "20s"], "did you mean 20ms?"),
        (["--ttft", "2000s"], "did you mean 2000ms?"),
        (["--decode-curve", "10:12.8,20:16.4,30:18.8"], "'10:12.8' has no unit; did you mean 10:12.8ms?"),
        (["--decode-curve", "10:12.8s,20:16.4s,30:18.8s"], "is it milliseconds, 12.8ms?"),
        (["--rps", "5000000"], "tokens per minute are given with --tpm"),
    ],
)
def test_a_wrong_unit_is_answered_with_a_guess(
    arguments: list[str], guess: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = PAPER if arguments[0] != "--rps" else ["size", *LENGTHS, *TARGETS, *ENGINE]
    message = refusal([*kept, *arguments], capsys)
    assert guess in message
    assert arguments[0] in message


def test_a_prefill_latency_that_is_plainly_milliseconds_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [*DOPD, "--prefill-latency", "150s"]
    assert "did you mean 150ms?" in refusal(arguments, capsys)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--isl", "0"], "must be greater than 0"),
        (["--isl", "-5"], "must be greater than 0"),
        (["--osl", "nan"], "'nan' is not a number"),
        (["--osl", "many"], "'many' is not a number"),
        (["--tpot", "0s"], "must be longer than 0"),
        (["--rps", "3"], "--rps and --tpm say the same thing"),
        (["--prefill-latency", "1s"], "say the same thing"),
        (["--decode-curve", "10"], "is not a pair like 10:12.8ms"),
        (["--decode-curve", "20:16ms,10:12ms,30:18ms"], "must rise"),
        (["--fleet", "35"], "write it like 3:5"),
        (["--fleet", "0:5"], "write it like 3:5"),
        (["--percentile", "100"], "--percentile"),
        (["--kv-blocks", "0"], "--kv-blocks"),
        (["--profile", "h200-llama-3.1-8b-fp8"], "did you mean h200-llama-3.1-8b-fp8-tp1"),
        (["--profile", "zzz"], "`pdctl profiles` lists"),
        (["--nonsense"], "--nonsense"),
        (["--isl-cv", "-1"], "must be greater than 0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reason in refusal([*PAPER, *arguments], capsys)


def test_without_any_engine_figures_it_says_what_each_method_needs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = refusal(["size", *LENGTHS, "--rps", "3", *TARGETS], capsys)
    assert "mm1 needs a prefill throughput" in message


def test_targets_that_no_fleet_meets_are_a_failure_and_not_bad_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["size", *LENGTHS, "--rps", "3", "--ttft", "0.3s", "--tpot", "1ms", *ENGINE]
    assert "cannot be met by any number of prefill engines" in refusal(arguments, capsys, code=1)
    fleet = ["size", *LENGTHS, "--ttft", "0.3s", "--tpot", "20ms", *ENGINE, "--fleet", "3:3"]
    assert "cannot be met" in refusal(fleet, capsys, code=1)


PROFILE = ["--profile", "h100-llama-3.1-8b-bf16-tp1"]
SHARED = [
    *PROFILE,
    "--isl",
    "1024",
    "--osl",
    "128",
    "--rps",
    "1",
    "--ttft",
    "1s",
    "--share",
    "2",
    "--weights",
    "16e9",
]


def test_m3_a_trace_gives_lengths_their_distribution_and_the_rate(capsys: pytest.CaptureFixture[str]) -> None:
    trace = load(DEMO / "azure2023_conv.csv")
    targets = ["--ttft", "1s", "--tpot", "50ms", "-o", "json"]
    assert run(["size", "--trace", str(DEMO / "azure2023_conv.csv"), *PROFILE, *targets]) == 0
    methods = json.loads(capsys.readouterr().out)["methods"]
    assert methods["mg1"]["rate_rps"] == pytest.approx(len(trace) / trace.span_s)
    profile, lengths = BUILTIN["h100-llama-3.1-8b-bf16-tp1"], trace.input_tokens.astype(float)
    mean_s = np.mean([profile.ttft_s(isl) for isl in lengths])
    assert methods["mg1"]["service_s"] == pytest.approx(mean_s, rel=1e-4)
    assert methods["dopd"]["prefill_s"] == pytest.approx(mean_s, rel=1e-4)  # D8, by measured lengths
    assert methods["md1"]["service_s"] == pytest.approx(profile.ttft_s(lengths.mean()), rel=1e-4)


def test_a_shared_gpu_needs_more_engines_and_a_tpot_target_may_refuse_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    alone = [x for x in SHARED if x not in ("--share", "2", "--weights", "16e9")]
    results = []
    for arguments in (alone, SHARED):
        assert run(["size", *arguments, "--tpot", "50ms", "-o", "json"]) == 0
        results.append(json.loads(capsys.readouterr().out)["methods"]["dopd"])
    assert results[1]["prefill_s"] == pytest.approx(2 * results[0]["prefill_s"], rel=1e-4)
    assert results[1]["max_concurrency"] < results[0]["max_concurrency"]
    assert run(["size", *SHARED, "--tpot", "10ms"]) == 1
    assert "share it less or give each engine a GPU" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([*PROFILE, "--isl", "9"], "give --isl and --osl, or a --trace"),
        ([*PROFILE, "--isl", "9", "--trace", "TRACE"], "leave --isl and --osl out"),
        ([*PROFILE, "--isl", "9", "--osl", "9", "--share", "2"], "--share needs --weights"),
        (["--isl", "9", "--osl", "9", "--share", "2", "--weights", "1e9"], "--share needs --weights"),
        (["--trace", "missing.csv"], "missing.csv: cannot be read"),
    ],
)
def test_a_trace_or_a_share_without_what_it_needs_is_refused(
    arguments: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = str(DEMO / "azure2023_conv.csv")
    assert run(["size", *(trace if x == "TRACE" else x for x in arguments)]) == 2
    err = capsys.readouterr().err
    assert what in err
    assert err.count("\n") == 1
