"""From one model to the next: EM's steps, and longer ones along the way that they take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy

from minilvm import tree
from minilvm.inference.passes import Pass

FIRST_LENGTH: Final = 4.0  # the most that a first extrapolation may be, and the least that it is cut to
GROWTH: Final = 4.0

SumOver = Callable[[Any], Pass]


class Step(NamedTuple):
    """Where a step led, what a pass over the data found there, and what is maximised, in nats."""

    model: Any
    found: Pass
    bound: float
    by_em: bool = True  # and so a small gain means that EM has settled


def _taken(model: Any, sum_over: SumOver, *, by_em: bool = True) -> Step:
    found = sum_over(model)
    log_prior = float(model.log_parameter_prior()) if hasattr(model, "log_parameter_prior") else 0.0
    return Step(model, found, found.log_likelihood + log_prior, by_em)


def em(model: Any, sum_over: SumOver) -> Iterator[Step]:
    """Yield θ_0, θ_1 = M(θ_0), θ_2 = M(θ_1), … where M is an E-step and an M-step."""
    while True:
        step = _taken(model, sum_over)
        yield step
        model = model.m_step(step.found.statistics)


def squarem(model: Any, sum_over: SumOver) -> Iterator[Step]:
    """Yield the same, with a leap after every two steps, where it leads no lower than they do.

        r = θ_1 − θ_0,    v = (θ_2 − θ_1) − r,    θ' = θ_0 + 2 a r + a² v,    then M(θ')

    Near its end EM shrinks an error by the same factor at each step. Were there one factor λ, a = 1/(1 − λ) = ‖r‖ / ‖v‖
    would land on the fixed point; a = 1 is θ_2. There are as many factors as parameters, so each array of them asks for
    a length of its own; the shortest is taken, and no more than four times the longest that has served before. A leap
    that leaves the parameters' space is cut, and one that ends lower is not made: the bound is as monotone as EM's.
    (Varadhan and Roland, *Scandinavian Journal of Statistics* 35 (2008), scheme S3.)
    """
    start, longest = _taken(model, sum_over), FIRST_LENGTH
    yield start
    while True:
        one = _taken(start.model.m_step(start.found.statistics), sum_over)
        yield one
        two = one.model.m_step(one.found.statistics)
        length = min(_length(start.model, one.model, two), longest)
        ahead = _ahead(start.model, one.model, two, length)
        while length > 1.0 and not ahead.is_valid():
            length = 0.5 * (length + 1.0) if length > 1.1 else 1.0
            ahead = _ahead(start.model, one.model, two, length)
        if length > 1.0:
            leap = _taken(ahead, sum_over, by_em=False)
            if leap.bound >= one.bound:
                yield leap
                two = ahead.m_step(leap.found.statistics)
                longest = longest * GROWTH if length == longest else longest
            else:
                longest = max(FIRST_LENGTH, length / GROWTH)
        start = _taken(two, sum_over)
        yield start


def _length(zero: Any, one: Any, two: Any) -> float:
    """The least ‖r‖ / ‖v‖ of the arrays of parameters; 1 where nothing moves any more."""
    lengths = []
    for a, b, c in zip(tree.leaves(zero), tree.leaves(one), tree.leaves(two), strict=True):
        first, change = (float(numpy.square(d).sum()) for d in (b - a, (c - b) - (b - a)))
        if first > 0.0:
            lengths.append(math.sqrt(first / change) if change > 0.0 else math.inf)
    return min(lengths, default=1.0)


def _ahead(zero: Any, one: Any, two: Any, length: float) -> Any:
    """θ_0 + 2 a r + a² v."""
    return tree.map(lambda a, b, c: a + 2.0 * length * (b - a) + length**2 * ((c - b) - (b - a)), zero, one, two)
