"""pdctl breakeven keeps its contract, and "never" is an answer."""

from __future__ import annotations

import json

import pytest

from pdoperator.cli.main import run

PAIR = ["breakeven", "--model", "Qwen/Qwen2.5-7B-Instruct", "--gpu", "a100-80gb", "--interconnect"]
FAIR = ["--engines", "4", "--osl", "200", "--efficiency", "0.5"]


def test_the_published_points(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*PAIR, "nvlink", "--isl", "128,2048,8192", "-o", "json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert [p["isl"] for p in points] == [128, 2048, 8192]
    assert [p["qps"] for p in points] == pytest.approx([43.99, 0.53, 0.03], rel=0.01, abs=0.005)
    assert points[0]["prefill_s"] == pytest.approx(0.00846, rel=0.001)
    assert points[0]["transfer_s"] == pytest.approx(0.000012, abs=5e-7)


def test_never_is_null_in_json_and_a_word_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    loose = [*PAIR, "nvlink", "--isl", "2048", *FAIR, "--ttft", "10s", "--tpot", "1s"]
    assert run([*loose, "-o", "json"]) == 0
    point = json.loads(capsys.readouterr().out)["points"][0]
    assert point["equal_cost"]["qps"] is None
    assert point["equal_cost"]["colocated_qps"] > point["equal_cost"]["disaggregated_qps"] > 0
    assert run(loose) == 0
    assert "never" in capsys.readouterr().out


def test_at_equal_cost_a_tight_tpot_pays(capsys: pytest.CaptureFixture[str]) -> None:
    tight = [*PAIR, "nvlink", "--isl", "8192", *FAIR, "--ttft", "5s", "--tpot", "12ms", "-o", "json"]
    assert run(tight) == 0
    fair = json.loads(capsys.readouterr().out)["points"][0]["equal_cost"]
    assert fair["qps"] == fair["colocated_qps"] > 0


def test_half_the_flops_and_half_the_link_take_twice_as_long(capsys: pytest.CaptureFixture[str]) -> None:
    base = [*PAIR, "pcie", "--isl", "8192", "-o", "json"]
    points = []
    for extra in ([], ["--efficiency", "0.5", "--link-efficiency", "0.5"]):
        assert run([*base, *extra]) == 0
        points.append(json.loads(capsys.readouterr().out)["points"][0])
    for key in ("prefill_s", "transfer_s"):
        assert points[1][key] == pytest.approx(2 * points[0][key], rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([*PAIR, "nvlonk"], "no interconnect is called 'nvlonk'; did you mean nvlink"),
        ([*PAIR, "pcie", "--model", "qwen2.5-7b"], "did you mean Qwen/Qwen2.5-7B-Instruct?"),
        ([*PAIR, "nvlink", "--gpu", "h100"], "no GPU is called 'h100'; did you mean h100-sxm"),
        ([*PAIR, "nvlink", "--isl", "128,x"], "'x' is not a number"),
        ([*PAIR, "nvlink", "--isl", ""], "is not a number"),
        ([*PAIR, "nvlink", "--efficiency", "50"], "it is a share"),
        ([*PAIR, "nvlink", "--engines", "4"], "--engines needs --osl, --ttft and --tpot"),
        ([*PAIR, "nvlink", "--hop", "5"], "did you mean 5ms?"),
        (
            ["breakeven", "--model", "Qwen/Qwen2.5-72B-Instruct", "--gpu", "l4", "--interconnect", "pcie", *FAIR,
             "--ttft", "1s", "--tpot", "50ms"],
            "give an engine more GPUs",
        ),
        (["breakeven", "--gpu", "l4", "--interconnect", "pcie"], "Missing option '--model'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert reason in err
    assert err.count("\n") == 1
