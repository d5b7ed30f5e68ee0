"""Request and response bodies as vLLM 0.32 reads and writes them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from pdoperator.sim.engine import tokens
from pdoperator.sim.engine.sequence import Sequence

FINGERPRINT = "pd-sim-engine"
DEFAULT_COMPLETION_TOKENS = 16
DONE = b"data: [DONE]\n\n"


class BadRequest(Exception):
    """To be answered with an error body."""

    def __init__(
        self, message: str, param: str | None = None, status: int = 400, kind: str = "BadRequestError"
    ) -> None:
        super().__init__(message)
        self.param, self.status, self.kind = param, status, kind


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    request_id: str
    chat: bool
    model: str
    created: int
    prompt: list[int]
    tokenized: bool  # the client sent token ids
    cache_salt: str
    max_tokens: int
    stream: bool
    include_usage: bool
    continuous_usage: bool
    return_token_ids: bool
    priority: int
    transfer: dict[str, Any] | None


def parse(
    raw: bytes, headers: Mapping[str, str], chat: bool, served: tuple[str, ...], max_model_len: int
) -> ParsedRequest:
    """Raises BadRequest, in vLLM's words for what it refuses too, and for what only this simulation lacks (n > 1)."""
    body = _json_object(raw)
    model = body.get("model") or served[0]
    if model not in served:
        names = ", ".join(served)
        raise BadRequest(
            f"The model `{model}` does not exist. Valid aliases: {names}.", "model", 404, "NotFoundError"
        )
    if (body.get("n") or 1) != 1:
        raise BadRequest("the simulated engine serves n=1 only", "n")
    stream = bool(body.get("stream"))
    options = body.get("stream_options") or {}
    if options and not stream:
        message = "Stream options can only be defined when `stream=True`. (parameter=stream_options)"
        raise BadRequest(message, "stream_options")
    prompt = _chat_prompt(body) if chat else _completion_prompt(body)
    room = max_model_len - len(prompt)
    if room < 1:
        raise BadRequest(
            f"This model's maximum context length is {max_model_len} tokens. However, your prompt contains "
            f"{len(prompt)} input tokens, which exceeds this limit even without any output tokens. Please reduce the "
            f"length of the input prompt. (parameter=input_tokens, value={len(prompt)})",
            "input_tokens",
        )
    transfer = body.get("kv_transfer_params")
    given = headers.get("X-Request-Id")
    return ParsedRequest(
        request_id=("chatcmpl-" if chat else "cmpl-") + (given or uuid.uuid4().hex[:16]),
        chat=chat,
        model=model,
        created=int(time.time()),
        prompt=prompt,
        tokenized=prompt is body.get("prompt"),
        cache_salt=str(body.get("cache_salt") or ""),
        max_tokens=_max_tokens(body, chat, room, max_model_len),
        stream=stream,
        include_usage=bool(options.get("include_usage")),
        continuous_usage=bool(options.get("include_usage") and options.get("continuous_usage_stats")),
        return_token_ids=bool(body.get("return_token_ids")),
        priority=_priority(body),
        transfer=transfer if isinstance(transfer, dict) else None,
    )


def _priority(body: dict[str, Any]) -> int:
    priority = body.get("priority", 0)
    if not isinstance(priority, int):
        message = "1 validation error:\n  priority: Input should be a valid integer"
        raise BadRequest(message, "priority", kind="Bad Request")
    return priority


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except ValueError as error:
        raise BadRequest(
            f"1 validation error:\n  JSON decode error: {error}", "body", kind="Bad Request"
        ) from None
    if not isinstance(body, dict):
        raise BadRequest(
            "1 validation error:\n  Input should be a valid dictionary", "body", kind="Bad Request"
        )
    return body


def _completion_prompt(body: dict[str, Any]) -> list[int]:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], (str, list)):
        prompt = prompt[0]
    if isinstance(prompt, str) and prompt:
        return tokens.encode(prompt) or [0]
    if isinstance(prompt, list) and prompt:
        if any(isinstance(part, (str, list)) for part in prompt):
            raise BadRequest("the simulated engine takes one prompt a request", "prompt")
        if all(isinstance(token, int) and 0 <= token < 2**32 for token in prompt):
            return prompt
        raise BadRequest("Token ids must be integers in the vocabulary")
    raise BadRequest(
        "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)", "prompt"
    )


def _chat_prompt(body: dict[str, Any]) -> list[int]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("1 validation error:\n  messages: Field required", "messages", kind="Bad Request")
    rendered = "".join(f"<im>{message.get('role')}\n{_content(message)}</im>\n" for message in messages)
    return tokens.encode(rendered + "<im>assistant\n")


def _content(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content)


def _max_tokens(body: dict[str, Any], chat: bool, room: int, max_model_len: int) -> int:
    asked = body.get("max_tokens")
    if chat and body.get("max_completion_tokens") is not None:
        asked = body["max_completion_tokens"]
    if asked is None:
        asked = room if chat else min(room, DEFAULT_COMPLETION_TOKENS)
    if not isinstance(asked, int) or asked < 1:
        raise BadRequest(
            f"max_tokens must be at least 1, got {asked}. (parameter=max_tokens, value={asked})", "max_tokens"
        )
    if asked > max_model_len:
        raise BadRequest(
            f"max_tokens={asked} cannot be greater than max_model_len={max_model_len}. Please request fewer output "
            f"tokens. (parameter=max_tokens, value={asked})",
            "max_tokens",
        )
    least = body.get("min_tokens") or 0
    if least > asked:
        raise BadRequest(f"min_tokens must be less than or equal to max_tokens={asked}, got {least}.")
    return min(asked, room)


def error_body(message: str, kind: str, param: str | None, status: int) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": status}})


def error_event(message: str) -> bytes:
    """How a stream that has begun tells that it failed."""
    return b"data: " + error_body(message, "InternalServerError", None, 500) + b"\n\n"


def usage(request: ParsedRequest, generated: int, details: bool) -> dict[str, Any]:
    prompt = len(request.prompt)
    counts: dict[str, Any] = {"prompt_tokens": prompt, "total_tokens": prompt + generated}
    counts["completion_tokens"] = generated
    return counts | {"prompt_tokens_details": None, "completion_tokens_details": None} if details else counts


def unary_body(request: ParsedRequest, seq: Sequence, transfer_params: dict[str, Any] | None) -> bytes:
    """The whole answer of a request that does not stream."""
    ids, prompt_ids = (seq.output, request.prompt) if request.return_token_ids else (None, None)
    text = tokens.decode(seq.output)
    ending = {"logprobs": None, "finish_reason": seq.finish_reason, "stop_reason": None, "token_ids": ids}
    head = _head(request, "chat.completion" if request.chat else "text_completion")
    tail: dict[str, Any] = {
        "kv_transfer_params": transfer_params,
        "ec_transfer_params": None,
        "metrics": None,
    }
    if request.chat:
        unused = dict.fromkeys(("refusal", "annotations", "audio", "function_call", "reasoning"))
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, **unused},
            **ending,
            "routed_experts": None,
        }
        tail = {"prompt_logprobs": None, "prompt_token_ids": prompt_ids, "prompt_text": None, **tail}
    else:
        choice = {"index": 0, "text": text, **ending}
        choice |= {"prompt_logprobs": None, "prompt_token_ids": prompt_ids, "routed_experts": None}
    body = {**head, "choices": [choice], "service_tier": None, "system_fingerprint": FINGERPRINT}
    return orjson.dumps({**body, "usage": usage(request, len(seq.output), details=True), **tail})


def opening_chunk(request: ParsedRequest) -> bytes:
    """A chat stream begins with the role, before any token."""
    choice = {
        "index": 0,
        "delta": {"role": "assistant", "content": ""},
        "logprobs": None,
        "finish_reason": None,
    }
    prompt_ids = request.prompt if request.return_token_ids else None
    body = {**_head(request, "chat.completion.chunk"), "choices": [choice]}
    return _event({**body, "prompt_token_ids": prompt_ids, "prompt_text": None})


def chunk(
    request: ParsedRequest, new: list[int], generated: int, finish_reason: str | None, first: bool
) -> bytes:
    """One event of a stream with the tokens ``new``, the last of ``generated``; several for a slow client."""
    ids = new if request.return_token_ids else None
    if request.chat:
        choice: dict[str, Any] = {"index": 0, "delta": {"content": tokens.decode(new)}, "logprobs": None}
        choice["finish_reason"] = finish_reason
        if finish_reason:
            choice["stop_reason"] = None
        choice["token_ids"] = ids
    else:
        prompt_ids = request.prompt if request.return_token_ids and first else None
        choice = {"index": 0, "text": tokens.decode(new), "logprobs": None, "finish_reason": finish_reason}
        choice |= {"stop_reason": None, "prompt_token_ids": prompt_ids, "token_ids": ids}
    body = {
        **_head(request, "chat.completion.chunk" if request.chat else "text_completion"),
        "choices": [choice],
    }
    if request.continuous_usage:
        body["usage"] = usage(request, generated, details=False)
    if finish_reason and not request.include_usage:
        body["system_fingerprint"] = FINGERPRINT
    return _event(body)


def usage_chunk(request: ParsedRequest, generated: int) -> bytes:
    head = _head(request, "chat.completion.chunk" if request.chat else "text_completion")
    counts = usage(request, generated, details=False)
    return _event({**head, "choices": [], "usage": counts, "system_fingerprint": FINGERPRINT})


def internal_request_id(request: ParsedRequest) -> str:
    """What transfers know the request by; a client may use one X-Request-Id twice."""
    return f"{request.request_id}-0-{uuid.uuid4().hex[:8]}"


def models_body(served: tuple[str, ...], root: str, max_model_len: int) -> bytes:
    fixed = {"object": "model", "created": int(time.time()), "owned_by": "vllm", "root": root, "parent": None}
    rows = [{"id": name, **fixed, "max_model_len": max_model_len, "permission": []} for name in served]
    return orjson.dumps({"object": "list", "data": rows})


def _head(request: ParsedRequest, kind: str) -> dict[str, Any]:
    return {"id": request.request_id, "object": kind, "created": request.created, "model": request.model}


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"
