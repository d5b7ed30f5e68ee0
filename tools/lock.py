"""Compile the locked requirements, with hashes and without any index's address: `make lock`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
GROUPS = {
    "runtime": ["pyproject.toml"],
    "dev": ["pyproject.toml", "--extra", "dev"],
}


def main() -> None:
    for group, sources in GROUPS.items():
        command = [
            str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--universal",
            "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header",
            *sources, "--output-file", f"requirements/{group}.txt",
        ]  # fmt: skip
        subprocess.run(command, cwd=REPOSITORY, check=True)


if __name__ == "__main__":
    main()
