"""Profiles as documents: what a file may leave out, and what it says where it does not."""

from __future__ import annotations

import yaml

from pdoperator.api import defaults
from pdoperator.capacity import profile_document
from pdoperator.capacity.profile import Fit, Profile

REQUIRED = {"ttft": {"a": 0.02, "b": 1e-5}, "itl": {"a": 0.005}, "kv_tokens": 1000}


def test_the_example_in_the_docstring_is_a_profile() -> None:
    assert profile_document.__doc__ is not None
    example = profile_document.__doc__.split("\n\n")[1]
    assert profile_document.parse(yaml.safe_load(example)) == Profile(
        ttft=Fit(0.019, 1.4e-5, 4.9e-10),
        itl=Fit(0.0044, 3.9e-5, 2.9e-8),
        kv_tokens=945029,
        max_batch=787,
        batched_tokens=8192,
        measured_pass_s=0.0041,
        startup_s=180,
        kv_bytes_per_token=131072,
        link_bytes_per_s=5e10,
    )


def test_what_is_left_out_is_vllms_default_or_unknown() -> None:
    profile = profile_document.parse(REQUIRED)
    assert (profile.max_batch, profile.batched_tokens) == (defaults.MAX_BATCH, defaults.BATCHED_TOKENS)
    assert (profile.gpus_per_replica, profile.startup_s, profile.measured_pass_s) == (1, None, None)
