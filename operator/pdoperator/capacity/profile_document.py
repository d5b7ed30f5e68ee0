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

Only ttft, itl and kv_tokens are required.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pdoperator.api import defaults
from pdoperator.capacity.profile import Fit, Profile

REQUIRED = ("ttft", "itl", "kv_tokens")
COUNTS = ("max_batch", "batched_tokens", "gpus_per_replica")
QUANTITIES = ("pass_s", "startup_s", "kv_bytes_per_token", "link_bytes_per_s")
KNOWN = (*REQUIRED, *COUNTS, *QUANTITIES)
COEFFICIENTS = ("a", "b", "c")

# No engine that anybody serves from is as slow as this; one whose latencies are milliseconds always seems so.
SHORT_PROMPT_TOKENS = 100
LONGEST_SHORT_PREFILL_S = 5.0
LONGEST_STEP_S = 1.0


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
    profile = Profile(
        ttft=_fit("ttft", document["ttft"]),
        itl=_fit("itl", document["itl"]),
        kv_tokens=_count("kv_tokens", document["kv_tokens"]),
        max_batch=_count("max_batch", document.get("max_batch", defaults.MAX_BATCH)),
        batched_tokens=_count("batched_tokens", document.get("batched_tokens", defaults.BATCHED_TOKENS)),
        gpus_per_replica=_count("gpus_per_replica", document.get("gpus_per_replica", 1)),
        measured_pass_s=quantities.pop("pass_s", None),
        **quantities,
    )
    check_seconds(profile)
    return profile


def check_seconds(profile: Profile) -> None:
    """Raise ValueError for latencies that are plainly milliseconds."""
    prefill_s, step_s = profile.ttft_s(SHORT_PROMPT_TOKENS), profile.itl_s(1, SHORT_PROMPT_TOKENS)
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
