"""pdctl profiles: what profiles ship with the package."""

from __future__ import annotations

import click
from rich.table import Column, Table

from pdoperator.capacity.builtin import BUILTIN, grade
from pdoperator.cli.output import emit, number, output_option, plain

CAPTION = (
    "TTFT of 2,048 tokens; pass: what of it one step costs beside its tokens, by the weights' reading in decode where "
    "it was not measured; ITL of 16 sequences of 2,048"
)


@click.command()
@output_option
def profiles(output: str) -> None:
    """List the built-in profiles, each with its evidence: measured on engines, or modelled from kernels."""
    rows = [{"name": name, "evidence": grade(name), **_columns(name)} for name in sorted(BUILTIN)]
    emit({"profiles": rows}, output, _table)


def _columns(name: str) -> dict[str, object]:
    profile = BUILTIN[name]
    return {**plain(profile), "pass_s": profile.pass_s, "latency_s": profile.latency_s}


def _table() -> Table:
    table = Table(Column("profile", no_wrap=True), "evidence", box=None, caption=CAPTION)
    for heading in (
        "GPUs",
        "TTFT ms",
        "pass ms",
        "ITL ms",
        "KV tokens",
        "KV KiB/token",
        "batch",
        "tokens/step",
    ):
        table.add_column(heading, justify="right")
    for name in sorted(BUILTIN):
        profile = BUILTIN[name]
        kv_bytes = profile.kv_bytes_per_token
        table.add_row(
            name,
            grade(name),
            f"{profile.gpus_per_replica}",
            number(profile.ttft_s(2048) * 1e3),
            number(profile.pass_s * 1e3),
            number(profile.itl_s(16, 2048) * 1e3),
            f"{profile.kv_tokens:,}",
            number(None if kv_bytes is None else kv_bytes / 1024),
            f"{profile.max_batch}",
            f"{profile.batched_tokens}",
        )
    return table
