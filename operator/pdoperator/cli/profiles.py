"""pdctl profiles: what profiles ship with the package."""

from __future__ import annotations

import click
from rich.table import Column, Table

from pdoperator.capacity.builtin import BUILTIN, grade
from pdoperator.cli.output import emit, number, output_option

CAPTION = "TTFT of 2,048 tokens; ITL of 16 sequences of 2,048"


@click.command()
@output_option
def profiles(output: str) -> None:
    """List the built-in profiles, each with its evidence: measured on engines, or modelled from kernels."""
    rows = [{"name": name, "evidence": grade(name), **_columns(name)} for name in sorted(BUILTIN)]
    emit({"profiles": rows}, output, _table)


def _columns(name: str) -> dict[str, object]:
    profile = BUILTIN[name]
    return {
        "ttft": profile.ttft,
        "itl": profile.itl,
        "kv_tokens": profile.kv_tokens,
        "max_batch": profile.max_batch,
    }


def _table() -> Table:
    table = Table(
        Column("profile", no_wrap=True),
        "evidence",
        box=None,
        caption=CAPTION,
    )
    for heading in ("TTFT ms", "ITL ms", "KV tokens", "batch"):
        table.add_column(heading, justify="right")
    for name in sorted(BUILTIN):
        profile = BUILTIN[name]
        table.add_row(
            name,
            grade(name),
            number(profile.ttft_s(2048) * 1e3),
            number(profile.itl_s(16, 2048) * 1e3),
            f"{profile.kv_tokens:,}",
            f"{profile.max_batch}",
        )
    return table
