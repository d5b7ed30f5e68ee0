"""pdctl size: how many prefill and decode engines, by every method side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from rich.console import Group, RenderableType
from rich.table import Column, Table

from pdoperator.api import defaults
from pdoperator.api.values import Missing, PerRole, ratio_text
from pdoperator.capacity import mm1, sharing, sizing
from pdoperator.capacity.decode_curve import DecodeCurve
from pdoperator.capacity.lengths import LengthMoments
from pdoperator.capacity.profile import Fit, Profile
from pdoperator.capacity.sizing import Demand, DopdSize, Engine, Method, QueueSize, Targets
from pdoperator.cli.output import emit, number, output_option, plain
from pdoperator.cli.profile_files import ProfileType
from pdoperator.cli.quantities import Curve, Duration, Fleet, NotNegative, Positive, TraceType
from pdoperator.sim.traffic.trace import Trace

# Slower than this no engine prefills; a latency that says so was meant in milliseconds.
SLOWEST_PREFILL_TPS = 10
LEAST_DOUBTFUL_S = 5.0
LONGEST_TTFT_S = 600.0
LONGEST_TPOT_S = 5.0
MOST_RPS = 1e5


@click.command()
@click.option("--isl", type=Positive(), help="Mean input tokens (those not in the prefix cache).")
@click.option("--osl", type=Positive(), help="Mean output tokens.")
@click.option("--trace", type=TraceType(), help="Lengths, their distribution and the mean rate from a trace, in place "
              "of --isl, --osl and --rps.")  # fmt: skip
@click.option("--isl-cv", type=NotNegative(), help="Spread of input lengths: standard deviation over mean.  "
              f"[default: {defaults.ISL_CV} for mg1]")  # fmt: skip
@click.option(
    "--rps", type=Positive(MOST_RPS, "tokens per minute are given with --tpm"), help="Requests per second."
)
@click.option("--tpm", type=Positive(), help="Tokens per minute, input and output together.")
@click.option("--requests", type=Positive(), help="Requests in decode at once (DOPD's release puts those of one "
              "interval here).")  # fmt: skip
@click.option("--ttft", type=Duration(LONGEST_TTFT_S), help="TTFT target, e.g. 2s.")
@click.option("--tpot", type=Duration(LONGEST_TPOT_S), help="TPOT target, e.g. 20ms.")
@click.option("--percentile", type=click.FloatRange(0, 100, min_open=True, max_open=True),
              default=defaults.PERCENTILE, show_default=True, help="Of TTFT, in mm1-percentile.")  # fmt: skip
@click.option("--overhead", type=Duration(60, zero=True), default=f"{defaults.TTFT_OVERHEAD_S}s", show_default=True,
              help="Part of TTFT outside the engine: client I/O and KV transfer.")  # fmt: skip
@click.option("--profile", type=ProfileType(), help="What one engine can do: a built-in profile or a file.")
@click.option(
    "--share", type=click.IntRange(2), help="Engines on one time-sliced GPU, for which --profile holds alone."
)
@click.option(
    "--weights", type=Positive(), help="Bytes of weights that each of them keeps; needed with --share."
)
@click.option(
    "--prefill-throughput", type=Positive(), help="Input tokens per second of a saturated prefill engine."
)
@click.option(
    "--prefill-latency", type=Duration(LONGEST_TTFT_S), help="Of one prompt of --isl tokens, alone."
)
@click.option("--decode-curve", type=Curve(), help="TPOT by batch, e.g. 10:12.8ms,20:16.4ms,30:18.8ms.")
@click.option("--decode-latency", type=Duration(LONGEST_TPOT_S), help="TPOT of a full decode engine.")
@click.option("--kv-blocks", type=click.IntRange(1), help="KV blocks of one decode engine.")
@click.option("--block-size", type=click.IntRange(1), default=defaults.KV_BLOCK_TOKENS, show_default=True,
              help="Tokens of a KV block.")  # fmt: skip
@click.option("--fleet", type=Fleet(), help="The other way round: what such a fleet takes, e.g. 3:5.")
@output_option
def size(output: str, fleet: PerRole[int] | None, **given: Any) -> None:
    """How many prefill and decode engines, by every method side by side."""
    options = Options.of(**given)
    demand, targets, engine = options.demand(), options.targets(), options.engine()
    answers = sizing.sizes(demand, targets, engine)
    found = {method: answer for method, answer in answers.items() if not isinstance(answer, Missing)}
    skipped = {method: answer.why for method, answer in answers.items() if isinstance(answer, Missing)}
    if not found and fleet is None:
        raise _nothing(skipped)
    limit = None if fleet is None else _limit(demand, targets, engine, fleet)
    result: dict[str, Any] = {"methods": found, "skipped": skipped}
    if fleet is not None and limit is not None:
        result["fleet"] = _fleet_document(demand, fleet, limit)
    emit(result, output, lambda: _tables(demand, found, skipped, fleet, limit))


@dataclass(frozen=True, slots=True)
class Options:
    """The options as given."""

    isl: float
    osl: float
    lengths: LengthMoments | None
    isl_cv: float | None
    rps: float | None
    tpm: float | None
    requests: float | None
    ttft: float | None
    tpot: float | None
    percentile: float
    overhead: float
    profile: Profile | None
    prefill_throughput: float | None
    prefill_latency: float | None
    decode_curve: DecodeCurve | None
    decode_latency: float | None
    kv_blocks: int | None
    block_size: int

    @classmethod
    def of(
        cls, *, trace: Trace | None, isl: float | None, osl: float | None, share: int | None, weights: float | None,
        **given: Any,
    ) -> Options:  # fmt: skip
        """What was given, a trace's figures put in. Raises click.UsageError."""
        lengths = None
        if trace is not None:
            if isl is not None or osl is not None:
                raise click.UsageError("--trace has its own lengths; leave --isl and --osl out")
            lengths = LengthMoments.of(np.maximum(trace.input_tokens - trace.cached_tokens, 1).tolist())
            isl, osl = lengths.first, float(trace.output_tokens.mean())
            if given["rps"] is None and given["tpm"] is None and trace.span_s > 0:
                given["rps"] = len(trace) / trace.span_s
        if isl is None or osl is None:
            raise click.UsageError("give --isl and --osl, or a --trace")
        if share is not None:
            given["profile"] = _shared(given["profile"], share, weights, given["tpot"], isl + osl / 2)
        return cls(isl=isl, osl=osl, lengths=lengths, **given)

    def demand(self) -> Demand:
        """What comes in. Raises click.UsageError for two rates."""
        _at_most_one(rps=self.rps, tpm=self.tpm)
        rate = self.rps if self.tpm is None else mm1.request_rate_rps(self.tpm / 60, self.isl, self.osl)
        return Demand(self.isl, self.osl, rate, self.requests, self.isl_cv, self.lengths)

    def targets(self) -> Targets:
        """What is asked for."""
        return Targets(self.ttft, self.tpot, self.percentile, self.overhead)

    def engine(self) -> Engine:
        """What one engine can do; a figure that is given goes before the profile's. Raises click.UsageError."""
        _at_most_one(prefill_throughput=self.prefill_throughput, prefill_latency=self.prefill_latency)
        _at_most_one(decode_curve=self.decode_curve, decode_latency=self.decode_latency)
        profile, kv_blocks = self.profile, self.kv_blocks
        if kv_blocks is None and profile is not None:
            kv_blocks = profile.kv_tokens // self.block_size
        decode = self.decode_curve or self.decode_latency or profile
        return Engine(self._prefill(), decode, kv_blocks, self.block_size)

    def _prefill(self) -> Fit | None:
        if self.prefill_throughput is not None:
            return Fit(0.0, 1 / self.prefill_throughput)
        if self.prefill_latency is not None:
            latency_s = self.prefill_latency
            if latency_s > LEAST_DOUBTFUL_S and self.isl / latency_s < SLOWEST_PREFILL_TPS:
                raise click.UsageError(
                    f"--prefill-latency: {latency_s:g}s for {self.isl:g} tokens is implausible; did you mean "
                    f"{latency_s:g}ms?"
                )
            return Fit(0.0, latency_s / self.isl)
        return None if self.profile is None else self.profile.ttft


def _shared(
    profile: Profile | None,
    share: int,
    weight_bytes: float | None,
    tpot_s: float | None,
    context_tokens: float,
) -> Profile:
    """The profile of one of the engines on a shared GPU. Raises click.UsageError, ClickException when it is refused."""
    if profile is None or weight_bytes is None or profile.kv_bytes_per_token is None:
        raise click.UsageError("--share needs --weights and a --profile with kv_bytes_per_token")
    try:
        part = sharing.shared(profile, share, sharing.Footprint(weight_bytes, profile.kv_bytes_per_token))
        if tpot_s is not None:
            sharing.check_tpot(part, context_tokens, tpot_s)
    except sharing.SharingRefusedError as error:
        raise click.ClickException(str(error)) from None
    return part


def _at_most_one(**given: object) -> None:
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} say the same thing; give one of them")


def _nothing(skipped: dict[Method, str]) -> click.ClickException:
    """No method has an answer: bad usage where inputs are missing, a failure where the targets cannot be met."""
    impossible = [why for why in skipped.values() if not why.startswith("needs ")]
    if impossible:
        return click.ClickException(impossible[0])
    reasons = "; ".join(f"{method} {why}" for method, why in skipped.items())
    return click.UsageError(f"no method can be applied: {reasons}")


def _limit(demand: Demand, targets: Targets, engine: Engine, fleet: PerRole[int]) -> mm1.FleetLimit:
    try:
        return sizing.fleet_limit(demand, targets, engine, fleet)
    except sizing.InputMissingError as error:
        raise click.UsageError(f"--fleet {error}") from None
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def _fleet_document(demand: Demand, fleet: PerRole[int], limit: mm1.FleetLimit) -> dict[str, Any]:
    return {
        "prefill_replicas": fleet.prefill,
        "decode_replicas": fleet.decode,
        **plain(limit),
        "rps": limit.rps,
        "tokens_per_min": limit.tokens_per_min(demand.isl_tokens, demand.osl_tokens),
        "binding": limit.binding,
    }


def _tables(
    demand: Demand,
    found: dict[Method, sizing.Sized],
    skipped: dict[Method, str],
    fleet: PerRole[int] | None,
    limit: mm1.FleetLimit | None,
) -> RenderableType:
    parts: list[RenderableType] = []
    queues = {method: answer for method, answer in found.items() if isinstance(answer, QueueSize)}
    ratios = {method: answer for method, answer in found.items() if isinstance(answer, DopdSize)}
    if queues:
        parts += [_queue_table(queues), ""]
    if ratios:
        parts += [_dopd_table(ratios), ""]
    if fleet is not None and limit is not None:
        tpm = limit.tokens_per_min(demand.isl_tokens, demand.osl_tokens)
        parts += [
            f"{ratio_text(fleet)} takes {number(limit.rps)} req/s ({number(tpm)} tokens/min) within the targets; "
            f"{limit.binding} binds.",
            "",
        ]
    parts += [f"{method}: {why}" for method, why in skipped.items()]
    return Group(*parts)


def _queue_table(sizes: dict[Method, QueueSize]) -> Table:
    table = Table(Column("method", no_wrap=True), box=None)
    for heading in ("P:D", "P", "D", "P/D", "nearest", "P tok/s", "D tok/s", "rho", "TTFT s"):
        table.add_column(heading, justify="right")
    for method, one in sizes.items():
        nearest = ratio_text(PerRole(one.nearest.prefill_replicas, one.nearest.decode_replicas))
        table.add_row(
            method,
            ratio_text(PerRole(one.prefill_replicas, one.decode_replicas)),
            number(one.prefill),
            number(one.decode),
            number(one.ratio),
            nearest if one.nearest.meets_targets else f"{nearest} misses",
            number(one.prefill_tokens_per_s),
            number(one.decode_tokens_per_s),
            number(one.rho),
            number(one.ttft_s),
        )
    return table


def _dopd_table(sizes: dict[Method, DopdSize]) -> Table:
    table = Table(Column("method", no_wrap=True), box=None)
    for heading in ("P:D", "P per D", "C per D", "blocks", "prefill ms", "TPOT ms", "in decode"):
        table.add_column(heading, justify="right")
    for method, one in sizes.items():
        table.add_row(
            method,
            ratio_text(PerRole(one.prefill_replicas, one.decode_replicas)),
            number(one.ratio),
            f"{one.max_concurrency}",
            number(one.sequence_blocks),
            number(one.prefill_s * 1e3),
            number(one.tpot_s * 1e3),
            number(one.concurrent),
        )
    return table
