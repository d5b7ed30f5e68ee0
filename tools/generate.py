"""Writes what is generated from the models: the CRD, and the chart's copy of it. `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from pdoperator.api.crd import crd

REPOSITORY = Path(__file__).resolve().parents[1]
_NAME = "inference.pdoperator.io_pdinferenceservices.yaml"
_HEADER = "# Generated from operator/pdoperator/api by `make generate`. Do not edit.\n"


class _Dumper(yaml.SafeDumper):
    """Writes every part out: the YAML parsers of some tools know no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def generated() -> dict[Path, str]:
    """What `make generate` writes: text by path."""
    text = _HEADER + yaml.dump(crd(), Dumper=_Dumper, sort_keys=False, width=110)
    return {REPOSITORY / folder / _NAME: text for folder in ("crds", "charts/pd-operator/files/crds")}


def stale() -> list[Path]:
    """Files that differ from what would be written."""
    return [path for path, text in generated().items() if not path.exists() or path.read_text() != text]


def main() -> int:
    """Write, or with `--check` say what is stale and return 1."""
    old = stale()
    if "--check" in sys.argv[1:]:
        for path in old:
            print(f"{path.relative_to(REPOSITORY)} is not current; run `make generate`", file=sys.stderr)
        return 1 if old else 0
    for path in old:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(generated()[path])
        print(f"wrote {path.relative_to(REPOSITORY)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
