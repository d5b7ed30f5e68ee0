"""A stream of server-sent events on its way through: looked at as little as can be, changed only where it must.

Engines end each event with an empty line, and JSON holds no raw line break: so the empty lines count the events, and
a byte search tells whether an event needs a look at all. A quote inside a JSON string is always escaped: so
`"usage"` with its quotes is found as a key, never in what a model says.
"""

from __future__ import annotations

from typing import Any

import orjson

from pdoperator.router.call import INTERNAL_FIELDS, strip_internal

END = b"\n\n"
DATA = b"data: "
DONE = b"[DONE]"
ABORT = "abort"
NOTABLE = (b'"usage"', b'"abort"', b'"error"', DONE, *(f'"{name}"'.encode() for name in INTERNAL_FIELDS))


class EventStream:
    """What has been seen of one stream.

    `opened` turns True with the first event that carries output, an end or an error; until then nothing has been
    promised to the client, and another engine can be asked.
    """

    def __init__(self, keep_usage: bool) -> None:
        self._keep_usage = keep_usage
        self._rest = b""
        self.opened = False
        self.events = 0  # events with output: tokens, as long as the engine sends each alone
        self.usage: dict[str, Any] | None = None
        self.aborted = False  # the engine gave up, as it does with requests that reach it while it drains
        self.error: dict[str, Any] | None = None
        self.done = False

    def feed(self, chunk: bytes) -> bytes:
        """What to pass on of `chunk`: whole events only, the rest is kept for the next."""
        if self._rest:
            chunk = self._rest + chunk
            self._rest = b""
        if not chunk.endswith(END):
            cut = chunk.rfind(END) + len(END)
            if cut < len(END):
                self._rest = chunk
                return b""
            self._rest = chunk[cut:]
            chunk = chunk[:cut]
        if self.opened and not any(mark in chunk for mark in NOTABLE):
            self.events += chunk.count(END)
            return chunk
        return b"".join(self._look(event) for event in chunk.split(END)[:-1])

    def _look(self, event: bytes) -> bytes:
        """One event, read; empty when the client is not to see it."""
        data = event.removeprefix(b"data:").strip()
        if data == DONE:
            self.done = self.opened = True
            return event + END
        try:
            body = orjson.loads(data)
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict):  # a comment, an event of another kind: not ours to judge
            return event + END
        return self._note(body, event)

    def _note(self, body: dict[str, Any], event: bytes) -> bytes:
        if isinstance(body.get("error"), dict):
            self.error = body["error"]
            self.opened = True
        choices = body.get("choices")
        if choices:
            self._note_choices(choices)
        if isinstance(body.get("usage"), dict):
            self.usage = body["usage"]
            if choices == [] and not self._keep_usage:
                return b""
        if strip_internal(body):
            return DATA + orjson.dumps(body) + END
        return event + END

    def _note_choices(self, choices: list[dict[str, Any]]) -> None:
        self.events += self.opened
        for choice in choices:
            if has_output(choice) and not self.opened:
                self.opened = True
                self.events = 1
            if choice.get("finish_reason") == ABORT:
                self.aborted = True
            if choice.get("finish_reason") is not None:
                self.opened = True


def has_output(choice: dict[str, Any]) -> bool:
    """Whether a choice, whole or a delta of it, carries anything that a model produced."""
    said = choice.get("delta") or choice.get("message") or {}
    return bool(choice.get("text")) or any(value for key, value in said.items() if key != "role")
