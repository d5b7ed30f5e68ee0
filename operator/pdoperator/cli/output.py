"""What a command found, as a table for people or as JSON or YAML for scripts."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click
import yaml
from rich.console import Console, RenderableType

# More digits than any model behind them deserves, few enough to read.
DIGITS = 6

PIPED_WIDTH = 120  # columns, where standard output is no terminal

FORMATS = ("table", "json", "yaml")

output_option = click.option(
    "-o", "--output", type=click.Choice(FORMATS), default="table", show_default=True, help="Output format."
)


def plain(value: Any) -> Any:
    """Plain JSON of dataclasses, mappings, sequences and numbers; what is infinite or not a number becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [plain(x) for x in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    return str(value)


def emit(result: Mapping[str, Any], output: str, table: Callable[[], RenderableType]) -> None:
    """Print `result` on standard output in the format that was asked for; `table` draws it for people."""
    if output == "json":
        click.echo(json.dumps(plain(result), indent=2, allow_nan=False))
    elif output == "yaml":
        click.echo(yaml.safe_dump(plain(result), sort_keys=False), nl=False)
    else:
        Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table())


def number(value: float | None, digits: int = 4) -> str:
    """A number as a table shows it; a dash for none."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "∞"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
