"""A stream passes the same however the network cuts it."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.router.sse import EventStream
from router.fake_engine import event, usage_event

DONE = b"data: [DONE]\n\n"
TEXTS = st.lists(
    st.sampled_from(["a", 'say "usage"', '"abort"', "[DONE]", "data: x\n\n", '"kv_transfer_params"', "é"]),
    min_size=1,
    max_size=6,
)


def cut(raw: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted({n % len(raw) for n in at}), len(raw)]
    return [raw[a:b] for a, b in pairwise(edges) if a != b]


@given(TEXTS, st.lists(st.integers(0, 10_000), max_size=12), st.booleans())
def test_events_arrive_whole_and_unchanged_wherever_the_network_cuts(
    texts: list[str], at: list[int], keep_usage: bool
) -> None:
    body = b"".join(event(text=text) for text in texts)
    stream = EventStream(keep_usage)
    out = b"".join(stream.feed(chunk) for chunk in cut(body + usage_event(9) + DONE, at))
    assert out == body + (usage_event(9) if keep_usage else b"") + DONE
    assert stream.events == len(texts)
    assert stream.usage == {"prompt_tokens": 7, "completion_tokens": 9}
    assert stream.done
    assert not stream.aborted


def test_usage_within_an_event_with_output_is_kept() -> None:
    raw = b'data: {"choices":[{"text":"a"}],"usage":{"completion_tokens":1}}\n\n'
    assert EventStream(keep_usage=False).feed(raw) == raw


def test_engines_own_fields_are_taken_out_of_events() -> None:
    stream = EventStream(keep_usage=False)
    out = stream.feed(b'data: {"choices":[{"text":"a"}],"kv_transfer_params":{"remote_host":"10.0.0.1"}}\n\n')
    assert json.loads(out.removeprefix(b"data: ")) == {"choices": [{"text": "a"}]}


@pytest.mark.parametrize(
    ("raw", "opened"),
    [
        (event(delta={"role": "assistant", "content": ""}), False),
        (event(text=""), False),
        (event(text="a"), True),
        (event(delta={"tool_calls": [{"index": 0}]}), True),
        (event(delta={"reasoning_content": "hm"}), True),
        (event(text="", finish="stop"), True),
        (b'data: {"error": {"message": "x", "code": 500}}\n\n', True),
        (DONE, True),
        (b": a comment\n\n", False),
        (b"data: nonsense\n\n", False),
    ],
)
def test_a_stream_opens_with_its_first_output_end_or_error(raw: bytes, opened: bool) -> None:
    stream = EventStream(keep_usage=False)
    stream.feed(raw)
    assert stream.opened is opened


def test_an_abort_is_seen() -> None:
    stream = EventStream(keep_usage=False)
    stream.feed(event(text="a"))
    stream.feed(event(text="", finish="abort"))
    assert stream.aborted
