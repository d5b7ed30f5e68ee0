"""pdctl profile: measure a live vLLM engine."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from pathlib import Path

import aiohttp
import click
import yaml
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pdoperator.api import defaults
from pdoperator.capacity import measurements, measuring
from pdoperator.capacity.measurements import Errors, Measurements, Setting
from pdoperator.capacity.measuring import EngineInfo, Measurement
from pdoperator.capacity.profile import Fit, Profile
from pdoperator.capacity.profile_document import UNREAD, document_of
from pdoperator.cli.output import emit, number, output_option, plain
from pdoperator.cli.profile_run import Kept, OtherEngineError, measure
from pdoperator.cli.profiler import NotAnEngineError, Profiler
from pdoperator.cli.quantities import Duration, Positive

REQUEST_LIMIT_S = 600.0
SEED = 1


@click.command()
@click.argument("url")
@click.option("--model", help="Model to ask for, if the engine serves several.")
@click.option(
    "--to", type=click.Path(dir_okay=False, path_type=Path), help="File to write; MODEL.yaml if absent."
)
@click.option("--batched-tokens", type=click.IntRange(1), default=defaults.BATCHED_TOKENS, show_default=True,
              help="The engine's --max-num-batched-tokens, which it does not tell.")  # fmt: skip
@click.option("--gpus", type=click.IntRange(1), default=1, show_default=True, help="GPUs of the engine.")
@click.option("--kv-bytes-per-token", type=Positive(), help="Bytes of KV cache per token, for transfers.")
@click.option("--link-bytes-per-s", type=Positive(), help="Rate of the link to other engines, one direction.")
@click.option("--startup", type=Duration(7200), help="From pod to ready.")
@output_option
def profile(
    url: str, model: str | None, to: Path | None, batched_tokens: int, gpus: int, kv_bytes_per_token: float | None,
    link_bytes_per_s: float | None, startup: float | None, output: str,
) -> None:  # fmt: skip
    """Measure the vLLM engine at URL and write its profile. Keep all other load away from it meanwhile.

    It takes minutes; an interrupted run goes on where it was when it is started again.
    """
    if not re.match(r"https?://[^/]", url):
        raise click.UsageError(f"{url!r} is no address of an engine; give one like http://127.0.0.1:8000")
    try:
        info, measured, path = asyncio.run(_run(url, model, to, batched_tokens))
        setting = Setting(info.kv_tokens, batched_tokens, gpus, kv_bytes_per_token, startup, link_bytes_per_s)
        found = measurements.profile_of(setting, measured)
    except (NotAnEngineError, OtherEngineError, measurements.NotMeasuredError) as error:
        raise click.ClickException(str(error)) from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise click.ClickException(f"{url} cannot be measured: {error or type(error).__name__}") from None
    errors = measurements.errors(found, measured)
    document = document_of(found)
    path.write_text(
        yaml.safe_dump({**document, UNREAD: plain(measured)}, sort_keys=False, default_flow_style=None),
        encoding="utf-8",
    )
    _partial(path).unlink(missing_ok=True)
    emit(
        {"file": str(path), "model": info.model, "profile": document, "errors": errors},
        output,
        lambda: _summary(path, found, errors),
    )


async def _run(
    url: str, model: str | None, to: Path | None, batched_tokens: int
) -> tuple[EngineInfo, Measurements, Path]:
    timeout = aiohttp.ClientTimeout(total=REQUEST_LIMIT_S)
    # One connection a request: the engine closes idle ones after some seconds.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        profiler = Profiler(session, url, model, SEED)
        info = await profiler.info()
        path = to or Path(f"{Path(info.model).name}.yaml")
        kept = Kept(_partial(path), info)
        await profiler.warm_up()
        with _progress() as progress:
            weight = sum(step.weight for step in measuring.plan(info, batched_tokens))
            task = progress.add_task(info.model, total=weight, now="warm-up")

            def advance(done: Measurement) -> None:
                progress.update(task, advance=done.weight, now=_words(done))

            return info, await measure(profiler, info, batched_tokens, kept, advance), path


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%")
    return Progress(
        *columns, TimeRemainingColumn(), TextColumn("{task.fields[now]}"), console=Console(stderr=True)
    )


def _words(done: Measurement) -> str:
    values = ", ".join(f"{name} {value}" for name, value in dataclasses.asdict(done).items())
    return f"{type(done).__name__.lower()}: {values}"


def _summary(path: Path, found: Profile, errors: Errors) -> RenderableType:
    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    rows: list[tuple[str, str, str]] = [
        ("TTFT", _formula(found.ttft, "isl", "isl²"), f"error {_share(errors.ttft_mean)}"),
        ("of it a pass", _ms(found.pass_s), f"the other {_ms(found.latency_s)} leave the engine free"),
        ("ITL", _formula(found.itl, "batch", "batch·context"), f"error {_share(errors.itl_mean)}"),
        ("KV cache", f"{found.kv_tokens:,} tokens", ""),
        ("batch", f"{found.max_batch}", "sequences at most"),
        ("packed prefill", _times(errors.packed), "of the measured time by this profile"),
        ("prompt beside a batch", _times(errors.mixed), "of the measured time by this profile"),
    ]
    for row in rows:
        table.add_row(*row)
    return Group(table, f"\nwritten to {path}")


def _formula(fit: Fit, b_times: str, c_times: str) -> str:
    return f"{_ms(fit.a)} + {number(fit.b * 1e6)} µs·{b_times} + {number(fit.c * 1e9)} ns·{c_times}"


def _ms(seconds: float) -> str:
    return f"{number(seconds * 1e3)} ms"


def _share(share: float) -> str:
    return f"{share:.1%}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f} x" if ratio == ratio else "–"
