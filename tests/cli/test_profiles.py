"""pdctl profiles, and profiles from files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pdoperator.capacity.builtin import BUILTIN
from pdoperator.cli.main import run

GOOD = """
ttft: {a: 0.019, b: 1.4e-5, c: 4.9e-10}
itl: {a: 0.0044, b: 3.9e-5, c: 2.9e-8}
kv_tokens: 945029
max_batch: 787
"""
SIZE = ["size", "--isl", "1024", "--osl", "128", "--rps", "5", "--ttft", "1s", "--tpot", "30ms", "-o", "json"]


def test_every_built_in_profile_is_listed_with_its_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profiles", "-o", "json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)["profiles"]}
    assert set(listed) == set(BUILTIN)
    assert listed["h200-llama-3.1-8b-fp8-tp1"]["evidence"] == "measured"
    assert listed["b200-llama-3.1-8b-bf16-tp1"]["evidence"] == "modelled"
    assert listed["cpu-tiny"]["ttft"]["a"] == BUILTIN["cpu-tiny"].ttft.a
    assert listed["h100-llama-3.3-70b-fp8-tp4"]["gpus_per_replica"] == 4
    assert listed["h200-llama-3.1-8b-fp8-tp1"]["pass_s"] == pytest.approx(0.00438754)


def test_the_table_shows_every_name_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profiles"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in BUILTIN)


def test_a_profile_comes_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert run([*SIZE, "--profile", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["methods"]["dopd"]["prefill_s"] == pytest.approx(
        0.019 + 1.4e-5 * 1024 + 4.9e-10 * 1024**2
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"ttft: {a: 18.6, b: 0.014}\nitl: {a: 0.0044}\nkv_tokens: 9",
            "ttft gives 20 s .* look like milliseconds",
        ),
        (
            b"ttft: {a: 0.02}\nitl: {a: 4.4, b: 0.04}\nkv_tokens: 9",
            "itl gives 4.44 s .* look like milliseconds",
        ),
        (b"ttft: {a: 0.02}\nkv_tokens: 9", "key itl is missing"),
        (b"ttft: {a: 0.02}\nitl: {a: 0.01}\nkv_tokens: 9\nmax_batsh: 4", "did you mean max_batch"),
        (b"ttft: {a: 0.02, d: 3}\nitl: {a: 0.01}\nkv_tokens: 9", "ttft is a mapping with a"),
        (b"ttft: {a: -1}\nitl: {a: 0.01}\nkv_tokens: 9", "ttft: latency coefficients must be finite"),
        (b"ttft: {a: x}\nitl: {a: 0.01}\nkv_tokens: 9", "ttft.a is not a number: 'x'"),
        (b"ttft: {a: 1}\nitl: {a: 0.01}\nkv_tokens: 9.5", "kv_tokens is not a whole number"),
        (b"ttft: {a: 1}\nitl: {a: 0.01}\nkv_tokens: true", "kv_tokens is not a whole number"),
        (b"ttft: {a: 1}\nitl: {a: 0.01}\nkv_tokens: 9\nstartup_s: soon", "startup_s is not a number: 'soon'"),
        (b"ttft: {a: 1}\nitl: {a: 0.01}\nkv_tokens: 9\nstartup_s: true", "startup_s is not a number: True"),
        (b"ttft: {a: 1}\nitl: {a: 0.01}\nkv_tokens: 9\npass_s: 2", "longer than ttft.a"),
        (b"- 1", "a profile is a mapping"),
        (b"", "a profile is a mapping"),
        (b"a: [", "not YAML or JSON"),
        (b"\xff\xfe\x00", "mine.yaml: "),
    ],
)
def test_a_file_that_is_no_profile_is_one_line_and_exit_code_2(
    content: bytes, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    assert run([*SIZE, "--profile", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "mine.yaml" in err
    assert re.search(reason, err)


def test_scientific_notation_without_a_dot_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("ttft: {a: 0.02, b: 4e-5}\nitl: {a: 0.01}\nkv_tokens: 90000\n", encoding="utf-8")
    assert run([*SIZE, "--profile", str(path)]) == 0


def test_a_file_name_with_a_line_break_still_makes_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mi\nne.yaml"
    path.write_text("- 1", encoding="utf-8")
    assert run([*SIZE, "--profile", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_huge_file_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"#" * (2 << 20))
    assert run([*SIZE, "--profile", str(path)]) == 2
    assert "larger than" in capsys.readouterr().err
