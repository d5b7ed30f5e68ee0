"""A profile as a document (parsed YAML or JSON), with the checks that a file written by hand needs.

ttft: {a: 0.019, b: 1.4e-5, c: 4.9e-10}   # seconds; a + b*isl + c*isl^2
itl: {a: 0.0044, b: 3.9e-5, c: 2.9e-8}    # seconds; a + b*batch + c*batch*context
kv_tokens: 945029
max_batch: 787              # sequences that decode together; vLLM's --max-num-seqs
batched_tokens: 8192        # tokens of one step; vLLM's --max-num-batched-tokens
pass_s: 0.0041              # of ttft.a what occupies the engine, where that was measured
gpus_per_replica: 1
startup_s: 180              # from pod to ready
kv_bytes_per_token: 131072
link_bytes_per_s: 5.0e10    # one direction

Only ttft, itl and kv_tokens are required; `measured` is for people and not read. Latencies
can be tables instead, which are interpolated and never left:

ttft: {isl: [128, 1024, 4096, 8192], s: [0.021, 0.034, 0.085, 0.167]}
itl: {batch: [1, 32], context: [512, 4096], s: [[0.0044, 0.0045], [0.0061, 0.0094]]}   # a row a batch, null for a gap
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pdoperator.api import defaults
from pdoperator.capacity.fitting import fit_itl, fit_ttft
from pdoperator.capacity.profile import Fit, Profile
from pdoperator.capacity.tables import LONGEST_SHORT_PREFILL_S, LONGEST_STEP_S, DecodeTable, PrefillTable

REQUIRED = ("ttft", "itl", "kv_tokens")
COUNTS = ("max_batch", "batched_tokens", "gpus_per_replica")
QUANTITIES = ("pass_s", "startup_s", "kv_bytes_per_token", "link_bytes_per_s")
UNREAD = "measured"  # the raw points that `pdctl profile` took
KNOWN = (*REQUIRED, *COUNTS, *QUANTITIES, UNREAD)
COEFFICIENTS = ("a", "b", "c")

SHORT_PROMPT_TOKENS = 100


def parse(document: Any) -> Profile:
    """The profile. Raises ValueError that names the key and what is wrong with it."""
    if not isinstance(document, Mapping):
        raise ValueError(f"a profile is a mapping with {', '.join(REQUIRED)}")
    for key in document:
        if key not in KNOWN:
            near = difflib.get_close_matches(str(key), KNOWN, n=1)
            raise ValueError(
                f"unknown key {str(key)!r}; "
                + (f"did you mean {near[0]}?" if near else f"known: {', '.join(KNOWN)}")
            )
    for key in REQUIRED:
        if key not in document:
            raise ValueError(f"key {key} is missing")
    quantities = {key: _quantity(key, document[key]) for key in QUANTITIES if key in document}
    ttft_table = _prefill_table(document["ttft"])
    itl_table = _decode_table(document["itl"])
    profile = Profile(
        ttft=_fit("ttft", document["ttft"]) if ttft_table is None else fit_ttft(ttft_table.points).fit,
        itl=_fit("itl", document["itl"]) if itl_table is None else fit_itl(itl_table.points).fit,
        kv_tokens=_count("kv_tokens", document["kv_tokens"]),
        max_batch=_count("max_batch", document.get("max_batch", defaults.MAX_BATCH)),
        batched_tokens=_count("batched_tokens", document.get("batched_tokens", defaults.BATCHED_TOKENS)),
        gpus_per_replica=_count("gpus_per_replica", document.get("gpus_per_replica", 1)),
        measured_pass_s=quantities.pop("pass_s", None),
        ttft_table=ttft_table,
        itl_table=itl_table,
        **quantities,
    )
    _check_seconds(profile)
    return profile


def document_of(profile: Profile) -> dict[str, Any]:
    """The document of a profile without tables; what is not known is left out."""
    written: dict[str, Any] = {
        "ttft": {name: getattr(profile.ttft, name) for name in COEFFICIENTS},
        "itl": {name: getattr(profile.itl, name) for name in COEFFICIENTS},
        "kv_tokens": profile.kv_tokens,
        **{name: getattr(profile, name) for name in COUNTS},
        "pass_s": profile.measured_pass_s,
        **{name: getattr(profile, name) for name in QUANTITIES if name != "pass_s"},
    }
    return {key: value for key, value in written.items() if value is not None}


def _prefill_table(value: Any) -> PrefillTable | None:
    """The table; None where the latency is a formula."""
    if not isinstance(value, Mapping) or "isl" not in value:
        return None
    _only("ttft", value, ("isl", "s"))
    return PrefillTable(_row("ttft.isl", value["isl"]), _row("ttft.s", value.get("s")))


def _decode_table(value: Any) -> DecodeTable | None:
    if not isinstance(value, Mapping) or "batch" not in value:
        return None
    _only("itl", value, ("batch", "context", "s"))
    rows = value.get("s")
    if not isinstance(rows, list):
        raise ValueError(f"itl.s is not a list of rows: {rows!r}")
    cells = tuple(
        tuple(None if x is None else _quantity("itl.s", x) for x in _list("a row of itl.s", row))
        for row in rows
    )
    return DecodeTable(_row("itl.batch", value["batch"]), _row("itl.context", value.get("context")), cells)


def _only(key: str, value: Mapping[Any, Any], known: tuple[str, ...]) -> None:
    unknown = [str(name) for name in value if name not in known]
    if unknown:
        raise ValueError(f"{key} is a table with {', '.join(known)}; {unknown[0]!r} is not known")


def _row(key: str, value: Any) -> tuple[float, ...]:
    return tuple(_quantity(key, x) for x in _list(key, value))


def _list(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{key} is not a list of numbers: {value!r}")
    return value


def _check_seconds(profile: Profile) -> None:
    """Raise ValueError for formulas that are plainly milliseconds (tables look at theirs themselves)."""
    prefill_s = profile.ttft.at(SHORT_PROMPT_TOKENS, SHORT_PROMPT_TOKENS**2)
    step_s = profile.itl.at(1, SHORT_PROMPT_TOKENS)
    for name, seconds, limit_s, what in (
        ("ttft", prefill_s, LONGEST_SHORT_PREFILL_S, f"to prefill {SHORT_PROMPT_TOKENS} tokens"),
        ("itl", step_s, LONGEST_STEP_S, "for one token of one sequence"),
    ):
        if seconds > limit_s:
            raise ValueError(
                f"{name} gives {seconds:.3g} s {what}; its coefficients look like milliseconds, divide them by 1000"
            )


def _fit(key: str, value: Any) -> Fit:
    if not isinstance(value, Mapping) or "a" not in value or not set(value) <= set(COEFFICIENTS):
        raise ValueError(f"{key} is a mapping with a and, if you like, b and c; got {value!r}")
    numbers = [_quantity(f"{key}.{name}", value.get(name, 0.0)) for name in COEFFICIENTS]
    try:
        return Fit(*numbers)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _quantity(key: str, value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError(f"{key} is not a number: {value!r}")
    # YAML 1.1 reads 4e-8, without a dot, as text.
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{key} is not a number: {value!r}") from None


def _count(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{key} is not a whole number: {value!r}")
    return value
