"""Make the environment that policy `dynamo` needs: NVIDIA's planner, 1.1 GB, outside the tree.

python benchmarks/dynamo/install.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from pdoperator.sim.policies.dynamo.process import environment

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements" / "dynamo.txt"
LIMIT_S = 1800.0


@click.command()
def main() -> None:
    """Install it if it is not there, and print where."""
    folder = environment()
    uv, done = Path(sys.executable).with_name("uv"), folder / "installed"
    if not done.exists():
        click.echo(f"installing NVIDIA's planner into {folder}", err=True)
        requirements = ["--require-hashes", "--no-deps", "--requirement", str(REQUIREMENTS)]
        for command in (
            ["venv", "--quiet", "--clear", "--python", "3.11", str(folder)],
            ["pip", "install", "--quiet", "--python", str(folder), *requirements],
        ):
            subprocess.run([uv, *command], check=True, timeout=LIMIT_S, stdout=sys.stderr)
        done.touch()
    click.echo(folder)


if __name__ == "__main__":
    main()
