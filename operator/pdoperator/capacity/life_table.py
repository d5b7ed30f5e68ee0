"""Mean length of answers from those that have ended and those under way, as demography tells how long people live.

The mean of what has ended is short while the load rises, and most of all just after a start: long answers are still
under way. A period life table (Preston, Heuveline and Guillot, Demography, 2001, chapter 3) asks instead, for each
length, how many of the tokens generated there were the last of their answer. That does not depend on when answers
began.
"""

from __future__ import annotations

from collections.abc import Sequence

from pdoperator.api import defaults


def mean_tokens(
    ended: Sequence[float], ended_tokens: Sequence[float], generated: Sequence[float]
) -> float | None:
    """Mean length of an answer in tokens; None while none has ended.

    By class of length, each up to a bound of LENGTH_BOUNDS_TOKENS, the last one without: answers that ended with such
    a length, their tokens, and tokens that were generated at such positions, whether their answer has ended or not.
    The last class in which one has ended is open: what is above it is taken as more of it, and answers as no longer
    than twice its bound.
    """
    last = max((at for at, count in enumerate(ended) if count > 0), default=None)
    if last is None:
        return None
    alive, mean, start = 1.0, 0.0, 0.0
    for at, bound in enumerate(defaults.LENGTH_BOUNDS_TOKENS[:last]):
        width = bound - start
        if ended[at] > 0 and generated[at] > 0:
            rate, before_end = ended[at] / generated[at], ended_tokens[at] / ended[at] - start
            ending = min(1.0, width * rate / (1 + (width - before_end) * rate))
            mean += alive * ((1 - ending) * width + ending * before_end)
            alive *= 1 - ending
        else:
            mean += alive * width
        start = bound
    left = sum(generated[last:]) / sum(ended[last:])
    return mean + alive * min(left, max(1.0, 2 * start))
