"""A client's request: what the router must know of it, and the bodies that it sends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson

from pdoperator.router.errors import ClientFault

# Only engines send these to each other: from a client they can crash an engine or read another request's KV cache.
INTERNAL_FIELDS = ("kv_transfer_params", "ec_transfer_params")
# vLLM's order of requests, lower first. Ours to set: a client would put itself before all others.
PRIORITY = "priority"
# vLLM's door to the same parameters.
EXTRA_ARGS = "vllm_xargs"

REMOTE_DECODE = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}


@dataclass(slots=True)
class Call:
    """One request, parsed once. `body` holds no internal field any more."""

    path: str
    body: dict[str, Any]
    chat: bool
    stream: bool
    stripped: bool = False
    wants_usage: bool = field(init=False)

    def __post_init__(self) -> None:
        options = self.body.get("stream_options")
        self.wants_usage = isinstance(options, dict) and bool(options.get("include_usage"))

    @property
    def transferable(self) -> bool:
        """Whether one KV transfer can serve it.

        The prefill answer describes the blocks of one sequence, which are freed after one pull: several prompts or
        several samples would read blocks that are someone else's by then. Log-probabilities of the prompt need it
        computed where they are returned.
        """
        body = self.body
        if (
            body.get("n") not in (None, 1)
            or body.get("best_of") not in (None, 1)
            or body.get("use_beam_search")
        ):
            return False
        if body.get("prompt_logprobs") is not None or (body.get("echo") and body.get("logprobs") is not None):
            return False
        prompt = None if self.chat else body.get("prompt")
        return not (
            isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list) and len(prompt) > 1
        )

    def prefill_body(self, priority: int | None = None) -> bytes:
        """The first step: one token, which is thrown away, and the KV kept for a pull."""
        body = {**self.body, "max_tokens": 1, "min_tokens": 1, "n": 1, "stream": False, **_order(priority)}
        if self.chat:
            body["max_completion_tokens"] = 1
        body.pop("stream_options", None)
        body["kv_transfer_params"] = REMOTE_DECODE
        return orjson.dumps(body)

    def decode_body(self, kv_transfer_params: dict[str, Any] | None, priority: int | None = None) -> bytes:
        """The second step, or the only one without parameters: the client's body, usage always asked for."""
        body = {**self.body, **_order(priority)}
        if self.stream:
            body["stream_options"] = self._options()
        if kv_transfer_params is not None:
            body["kv_transfer_params"] = kv_transfer_params
        return orjson.dumps(body)

    def _options(self) -> Any:
        options = self.body.get("stream_options")
        if options is None:
            return {"include_usage": True}
        if self.wants_usage or not isinstance(options, dict):
            return options  # what is malformed is the engine's to refuse
        return {**{k: v for k, v in options.items() if k != "continuous_usage_stats"}, "include_usage": True}


def parse_call(path: str, chat: bool, raw: bytes, served_name: str) -> Call:
    """The call that `raw` asks for. Raises ClientFault: no JSON object (400), another model than `served_name` (404).

    Everything else is left to the engine to judge.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ClientFault(HTTPStatus.BAD_REQUEST, f"The request body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise ClientFault(HTTPStatus.BAD_REQUEST, "The request body must be a JSON object.")
    model = body.get("model")
    if model is not None and model != served_name:
        raise ClientFault(HTTPStatus.NOT_FOUND, f"The model `{model}` does not exist.", "model")
    stripped = _strip(body)
    body.pop(PRIORITY, None)
    return Call(path, body, chat, bool(body.get("stream")), stripped)


def _order(priority: int | None) -> dict[str, Any]:
    return {} if priority is None else {PRIORITY: priority}


def strip_internal(body: dict[str, Any]) -> bool:
    """Take what only engines may see out of `body`, in place; whether there was any."""
    found = False
    for name in INTERNAL_FIELDS:
        if name in body:
            del body[name]
            found = True
    return found


def _strip(body: dict[str, Any]) -> bool:
    found = strip_internal(body)
    extra = body.get(EXTRA_ARGS)
    return (isinstance(extra, dict) and strip_internal(extra)) or found
