"""Whether prefill and decode may share a pool, and whether their engines can exchange KV at all."""

from __future__ import annotations

from pdoperator.api.names import Pool
from pdoperator.api.spec import Mode, PoolKind, Spec
from pdoperator.workload.engine import engine_args, pod_template

# vLLM refuses the NIXL handshake when these differ (its compatibility hash, or its own check of the layout).
PAIRED_FLAGS = ("--dtype", "--kv-cache-dtype", "--block-size", "--quantization", "--attention-backend")


def pools(spec: Spec) -> tuple[Pool, ...]:
    """The Deployments of a service: one shared pool where both roles render the same pod, else one a role."""
    if spec.pool is PoolKind.DEDICATED:
        return (Pool.PREFILL, Pool.DECODE)
    return (Pool.SHARED,) if same_pod(spec) else (Pool.PREFILL, Pool.DECODE)


def same_pod(spec: Spec) -> bool:
    """Both roles render the same pod."""
    return pod_template(spec, spec.prefill) == pod_template(spec, spec.decode)


def pairing_problem(spec: Spec) -> str | None:
    """Why engines of the two roles cannot work together, with the fix; None if they can."""
    if spec.pool is PoolKind.SHARED and not same_pod(spec):
        return (
            "pool Shared needs prefill.template and decode.template to be the same;"
            " make them equal or set pool to Dedicated"
        )
    if spec.mode is not Mode.DISAGGREGATED and not same_pod(spec):
        return (
            f"mode {spec.mode.value} needs prefill.template and decode.template to be the same, for its engines serve"
            " either role; make them equal or set mode to Disaggregated"
        )
    prefill, decode = engine_args(spec, spec.prefill), engine_args(spec, spec.decode)
    for flag in PAIRED_FLAGS:
        ours, theirs = flag_value(prefill, flag), flag_value(decode, flag)
        if ours != theirs:
            return (
                f"prefill and decode cannot exchange KV: {flag} is {ours or 'unset'} in prefill.args and"
                f" {theirs or 'unset'} in decode.args; make them equal, for example in engine.args"
            )
    return None


def flag_value(args: list[str], flag: str) -> str | None:
    """Value of a flag written `--flag value` or `--flag=value`; the last one counts."""
    found = None
    for index, arg in enumerate(args):
        if arg == flag and index + 1 < len(args):
            found = args[index + 1]
        elif arg.startswith(f"{flag}="):
            found = arg.partition("=")[2]
    return found


def switched_on(args: list[str], name: str, default: bool) -> bool:
    """A flag written `--name` or `--no-name`; the last one counts."""
    said = [arg for arg in args if arg in (f"--{name}", f"--no-{name}")]
    return said[-1] == f"--{name}" if said else default
