"""pdctl as a process: installed names, help, exit codes."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pdoperator.cli.main import run

ROOT = Path(__file__).parents[2]


def pdctl(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.argv[0] = {name!r}; from pdoperator.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_it_is_installed_under_both_names() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts["pdctl"] == scripts["kubectl-pd"] == "pdoperator.cli.main:main"


def test_without_numba_replay_says_what_to_install_and_all_else_works() -> None:
    code = (
        "import sys; sys.modules['numba'] = None; from pdoperator.cli.main import run;"
        " sys.exit(run(['replay', 'x.csv', '--seed', '1']) * 10 + run(['profiles', '-o', 'json']))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert process.returncode == 10
    assert process.stderr == "pdctl: replay needs numba; install it with: pip install 'pd-operator[replay]'\n"


@pytest.mark.parametrize(
    ("name", "shown"), [("/usr/bin/pdctl", "pdctl"), ("/usr/bin/kubectl-pd", "kubectl pd")]
)
def test_a_process_calls_itself_as_it_was_called_and_exits_2_for_a_command_that_does_not_exist(
    name: str, shown: str
) -> None:
    process = pdctl(name, "siez")
    assert process.returncode == 2
    assert process.stderr.startswith(f"{shown}: No such command 'siez'")
    assert process.stderr.count("\n") == 1


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    commands = ("size", "breakeven", "profiles", "explain", "history", "top", "pause", "resume", "doctor")
    assert all(command in out for command in commands)


def test_without_a_command_it_shows_its_help_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Usage: pdctl" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["size", "breakeven", "profiles"])
def test_every_command_has_help_and_the_three_formats(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, "--help"]) == 0
    assert "[table|json|yaml]" in capsys.readouterr().out
