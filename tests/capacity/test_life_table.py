"""How long answers are, told by those that have ended and by those that have not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pdoperator.api import defaults
from pdoperator.capacity.life_table import mean_tokens

Floats = NDArray[np.float64]
CLASSES = len(defaults.LENGTH_BOUNDS_TOKENS) + 1
BOUNDS = np.array([0, *defaults.LENGTH_BOUNDS_TOKENS, np.inf])
TOKENS_PER_S = 25.0


@dataclass(frozen=True)
class Seen:
    """What was counted of answers of `tokens`, of which each has generated `age` by now, had it not ended before."""

    tokens: Floats
    age: Floats

    @property
    def ended(self) -> Floats:
        return self.tokens[self.tokens <= self.age]

    @property
    def mean(self) -> float | None:
        """By the life table."""
        at = np.searchsorted(BOUNDS[1:], self.ended)
        grown = np.minimum(self.tokens, self.age)
        positions = [np.clip(grown, low, high).sum() - low * len(grown) for low, high in pairwise(BOUNDS)]
        ended, ended_tokens = np.bincount(at, minlength=CLASSES), np.bincount(at, self.ended, CLASSES)
        return mean_tokens(ended.tolist(), ended_tokens.tolist(), positions)


LENGTHS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "exponential": lambda draw, n: np.ceil(draw.exponential(200.0, n)),
    "lognormal": lambda draw, n: np.ceil(draw.lognormal(5.0, 0.8, n)),
    "half short, half long": lambda draw, n: np.where(draw.random(n) < 0.5, 20.0, 400.0),
    "all alike": lambda draw, n: np.full(n, 300.0),
}


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=50))
def test_when_all_have_ended_it_is_their_mean(tokens: list[int]) -> None:
    lengths = np.array(tokens, float)
    assert Seen(lengths, np.full(len(tokens), np.inf)).mean == pytest.approx(lengths.mean())


@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize("ramp", [False, True])
def test_half_a_minute_after_the_start_it_tells_the_mean_that_the_ended_do_not(name: str, ramp: bool) -> None:
    """Within a sixth while a load that begins or rises has ended too few of its long answers."""
    draw = np.random.default_rng(1)
    tokens = LENGTHS[name](draw, 4000)
    began = draw.random(4000)
    seen = Seen(tokens, np.floor((1 - (np.sqrt(began) if ramp else began)) * 30.0 * TOKENS_PER_S))
    mean = seen.mean
    assert mean is not None
    assert mean == pytest.approx(tokens.mean(), rel=1 / 6)
    if name != "all alike":
        assert seen.ended.mean() < 0.85 * tokens.mean()


@pytest.mark.parametrize("name", LENGTHS)
def test_it_does_not_depend_on_when_answers_began(name: str) -> None:
    """Of a load that falls long answers end last, and the ended are too long."""
    draw = np.random.default_rng(2)
    tokens, ages = LENGTHS[name](draw, 20_000), draw.exponential(1 / 60.0, 20_000)
    rising, falling = (Seen(tokens, np.floor(ages * 60.0 * 30.0 * s)).mean for s in (10.0, 100.0))
    assert rising == pytest.approx(falling, rel=0.1)


def test_nothing_is_known_before_an_answer_has_ended() -> None:
    assert Seen(np.array([500.0, 600.0]), np.array([30.0, 40.0])).mean is None


def test_of_many_that_still_grow_when_the_first_ends_none_is_taken_for_more_than_twice_as_long() -> None:
    lengths = np.full(1000, 512.0)
    mean = Seen(lengths, np.append(512.0, np.full(999, 500.0))).mean
    assert mean is not None
    assert 256 < mean <= 2 * 512
