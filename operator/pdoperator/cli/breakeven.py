"""pdctl breakeven: above which request rate disaggregation pays."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Group
from rich.table import Table

from pdoperator.capacity import equal_cost
from pdoperator.capacity.breakeven import HOP_S, BreakEven, break_even
from pdoperator.capacity.datasheets import GPUS, INTERCONNECTS, MODELS, sheet
from pdoperator.cli.output import emit, number, output_option, plain
from pdoperator.cli.quantities import Duration, Lengths, Positive

ISLS = "128,256,512,1024,2048,4096,8192"
SHARE = "it is a share, 1 is the data sheet's peak"


@click.command()
@click.option("--model", required=True, help="Model with a data sheet, e.g. Qwen/Qwen2.5-7B-Instruct.")
@click.option("--gpu", required=True, help="GPU with a data sheet, e.g. h100-sxm.")
@click.option("--interconnect", required=True, help="Link between prefill and decode, e.g. nvlink or pcie.")
@click.option("--isl", type=Lengths(), default=ISLS, show_default=True, help="Prompt lengths.")
@click.option(
    "--hop",
    type=Duration(10, zero=True),
    default=f"{HOP_S}s",
    show_default=True,
    help="The router's own latency.",
)
@click.option("--efficiency", type=Positive(1, SHARE), default=1.0, show_default=True,
              help="Share of the GPU's peak FLOP/s that is reached; 0.3 to 0.6 is realistic.")  # fmt: skip
@click.option("--link-efficiency", type=Positive(1, SHARE), default=1.0, show_default=True,
              help="Share of the link's rate that is reached.")  # fmt: skip
@click.option("--gpus-per-engine", type=click.IntRange(1), default=1, show_default=True,
              help="Tensor parallel size, taken to cost nothing.")  # fmt: skip
@click.option(
    "--engines", type=click.IntRange(2), help="Compare at equal cost: so many engines on both sides."
)
@click.option("--osl", type=Positive(), help="Output length; needed with --engines.")
@click.option("--ttft", type=Duration(600), help="Target for the mean TTFT; needed with --engines.")
@click.option("--tpot", type=Duration(5), help="Target for the mean TPOT; needed with --engines.")
@output_option
def breakeven(
    model: str, gpu: str, interconnect: str, isl: list[float], hop: float, efficiency: float, link_efficiency: float,
    gpus_per_engine: int, engines: int | None, osl: float | None, ttft: float | None, tpot: float | None, output: str,
) -> None:  # fmt: skip
    """Request rate above which disaggregation pays, per prompt length; "never" is an answer.

    The plain threshold compares one colocated GPU with two and ignores the second one's price. With --engines both
    sides have the same engines, and the answer is the load that colocated ones no longer carry within the targets.
    """
    try:
        model_sheet = sheet("model", model, MODELS)
        gpu_sheet = sheet("GPU", gpu, GPUS).derated(efficiency).times(gpus_per_engine)
        link = sheet("interconnect", interconnect, INTERCONNECTS) * link_efficiency
        points = [break_even(model_sheet, gpu_sheet, link, tokens, hop) for tokens in isl]
        fair: list[equal_cost.EqualCost] = []
        if engines is not None:
            if osl is None or ttft is None or tpot is None:
                raise click.UsageError("--engines needs --osl, --ttft and --tpot")
            system = equal_cost.System(model_sheet, gpu_sheet, link, engines, hop)
            fair = [equal_cost.equal_cost(system, equal_cost.Load(x, osl, ttft, tpot)) for x in isl]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    result = [_point(point, fair[i] if fair else None) for i, point in enumerate(points)]
    emit({"points": result}, output, lambda: _table(points, fair))


def _point(point: BreakEven, fair: equal_cost.EqualCost | None) -> dict[str, Any]:
    document: dict[str, Any] = plain(point)
    if fair is not None:
        document["equal_cost"] = {"qps": plain(fair.qps), **plain(fair)}
    return document


def _table(points: list[BreakEven], fair: list[equal_cost.EqualCost]) -> Group:
    table = Table(box=None)
    for heading in ("ISL", "prefill ms", "transfer ms", "pays above"):
        table.add_column(heading, justify="right")
    if fair:
        for heading in ("at equal cost", "colocated carries", "best split carries", "split"):
            table.add_column(heading, justify="right")
    for i, point in enumerate(points):
        row = [f"{point.isl:g}", _ms(point.prefill_s), _ms(point.transfer_s), _rate(point.qps)]
        if fair:
            one = fair[i]
            row += [
                _rate(one.qps),
                _rate(one.colocated_qps),
                _rate(one.disaggregated_qps),
                f"{one.prefill_engines}P:{one.decode_engines}D",
            ]
        table.add_row(*row)
    note = "Roofline latencies at batch 1; measured ones are longer, see --efficiency."
    return Group(table, f"\n{note}")


def _ms(seconds: float) -> str:
    return number(seconds * 1e3)


def _rate(qps: float | None) -> str:
    return "never" if qps is None else f"{number(qps)} req/s"
