"""How long a prompt is, and with which others it begins alike, before any engine has seen it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from pdoperator.api import defaults
from pdoperator.scheduling.prefixes import Chain

# Weight of what was learnt before each further request: some hundred requests are remembered.
MEMORY = 0.99
# What an engine makes a prompt of, in the order in which chat templates put it. vLLM keeps the prefixes of different
# salts apart, so that tenants cannot learn of each other's prompts.
TEXT_FIELDS = ("cache_salt", "prompt")
CHAT_FIELDS = ("cache_salt", "chat_template", "chat_template_kwargs", "documents", "tools", "messages")
BLOCK = defaults.PREFIX_BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class PromptSize:
    """Tokens where the client sent them as ids, else characters; 0 of both where neither is there."""

    tokens: int = 0
    characters: int = 0


class TokenEstimate:
    """Tokens of a text from its characters, at the ratio of the requests that have finished, newer ones counting more.

    A chat template's own tokens and images are in the ratio too, so it is right on average, not for each request.
    """

    def __init__(self) -> None:
        self._characters = 0.0
        self._tokens = 0.0

    def learn(self, size: PromptSize, tokens: int) -> None:
        """A request of that size turned out to have so many tokens."""
        if size.characters and not size.tokens:
            self._characters = self._characters * MEMORY + size.characters
            self._tokens = self._tokens * MEMORY + tokens

    def tokens(self, size: PromptSize) -> float | None:
        """Exact for token ids, estimated for text, None as long as no text has finished."""
        if size.tokens:
            return float(size.tokens)
        if not size.characters or not self._characters:
            return None
        return size.characters * self._tokens / self._characters


def work_tokens(size: PromptSize, tokens: float | None) -> int:
    """What engines are picked by: the estimate `tokens`, else what characters usually make; 1 at least."""
    return max(1, round(size.characters / defaults.CHARACTERS_PER_TOKEN if tokens is None else tokens))


def prompt_size(body: dict[str, Any], chat: bool) -> PromptSize:
    """The size of a request's prompt; what is malformed counts as nothing and is left to the engine to refuse."""
    if chat:
        tools = body.get("tools")
        characters = _characters(body.get("messages")) + (len(orjson.dumps(tools)) if tools else 0)
        return PromptSize(characters=characters)
    prompt = body.get("prompt")
    prompts = prompt if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else [prompt]
    return PromptSize(
        tokens=sum(len(one) for one in prompts if isinstance(one, list)),
        characters=sum(len(one) for one in prompts if isinstance(one, str)),
    )


def prefix_chain(body: dict[str, Any], chat: bool) -> Chain:
    """A request's prompt as the hashes of its blocks, Python's own: fast, and keyed anew in each process (PEP 456).

    The blocks are those of its JSON, which is alike as far as prompts are: token ids, text, messages of a growing chat.
    Tokens are taken to be spread evenly over it.
    """
    text = orjson.dumps([body.get(name) for name in (CHAT_FIELDS if chat else TEXT_FIELDS)])
    blocks, before = [], 0
    for start in range(0, min(len(text) // BLOCK, defaults.PREFIX_BLOCKS) * BLOCK, BLOCK):
        before = hash((before, text[start : start + BLOCK]))
        blocks.append(before)
    return Chain(tuple(blocks), BLOCK / len(text))


def _characters(messages: Any) -> int:
    def of(content: Any) -> int:
        if isinstance(content, str):
            return len(content)
        return sum(len(text) for part in _dicts(content) if isinstance(text := part.get("text"), str))

    return sum(of(message.get("content")) for message in _dicts(messages))


def _dicts(things: Any) -> Iterable[dict[str, Any]]:
    return (thing for thing in things if isinstance(thing, dict)) if isinstance(things, list) else ()
