"""Tokens of answers by length: from these comes how long answers are, those under way included."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from pdoperator.api import defaults

_BOUNDS = defaults.LENGTH_BOUNDS_TOKENS


class AnswerTokens:
    """Two counters by class of length; a class holds the lengths above the bound of the one before it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        generated = Counter(
            "pdrouter_generated_tokens",
            "Tokens generated, by their position in the answer; known while an answer streams, else at its end",
            ["up_to"],
            registry=registry,
        )
        ended = Counter(
            "pdrouter_output_tokens_by_length",
            "Tokens generated for requests that ended, by the length of the answer",
            ["up_to"],
            registry=registry,
        )
        names = [*map(str, _BOUNDS), "+Inf"]
        self._generated, self._ended = ([each.labels(name) for name in names] for each in (generated, ended))

    def generated(self, before: int, after: int) -> None:
        """An answer of `before` tokens has grown to `after`."""
        while before < after:
            at = _class(before + 1)
            end = min(after, _BOUNDS[at]) if at < len(_BOUNDS) else after
            self._generated[at].inc(end - before)
            before = end

    def ended(self, tokens: int) -> None:
        """An answer of so many tokens is complete."""
        self._ended[_class(tokens)].inc(tokens)


def _class(tokens: int) -> int:
    """Which of the powers of two is the first that is not below `tokens`."""
    return min((max(1, tokens) - 1).bit_length(), len(_BOUNDS))
