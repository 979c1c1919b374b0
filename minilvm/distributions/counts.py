"""Counts: the logarithms of their probabilities, without the cancellation of factorials.

A probability of counts is a quotient of factorials and powers whose logarithms are as large as n log n, while their sum
is as small as log n. Stirling's approximation takes the large part out, x! ≈ xˣ exp(−x), and what is left are terms of
the size of the answer (Loader, *Fast and Accurate Computation of Binomial Probabilities*, 2000):

    log x!  =  x log x − x + s(x)                           what Stirling leaves, about ½ log 2πx
    d(x, m) =  x log(x / m) − x + m  ≥ 0                    how far a count x is from its mean m, 0 where x = m
"""

from __future__ import annotations

import math
from typing import Final

import numpy

from minilvm.backend import Array, namespace
from minilvm.distributions.parameters import Constraint

count = Constraint("a whole number, 0 or more", lambda x: numpy.isfinite(x) & (x >= 0) & (numpy.floor(x) == x))

TABULATED: Final = tuple(math.lgamma(x + 1.0) - (x * math.log(x) if x else 0.0) + x for x in range(16))


def stirling_remainder(x: Array) -> Array:
    """Return s(x) = log x! − x log x + x, for counts x; s(0) = 0.

    From a table, and from 16 on by Stirling's series, whose next term is below 1e-14. For plain arrays: it has no
    derivative.
    """
    few = x < 16
    table = namespace(x).asarray(TABULATED, dtype=x.dtype)
    many = numpy.where(few, 16.0, x)
    r = numpy.square(1.0 / many)
    series = (1.0 / 12.0 - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r / 1680.0))) / many
    small = table[numpy.where(few, x, 0.0).astype(int)]
    return numpy.where(few, small, 0.5 * numpy.log(2.0 * math.pi * many) + series)


def deviance(x: Array, m: Array, log_m: Array) -> Array:
    """Return d(x, m) = x log(x/m) − x + m, for x ≥ 0 and m ≥ 0: m at x = 0, and +inf where only m is 0.

    The logarithm is that of 1 + (x − m)/m, which keeps its digits near m, or where x is small beside m, or m so small
    that it may have underflowed, log x − log m. For plain arrays: it has no derivative.
    """
    difference = x - m
    near = (m < 2.0 * x) & (m > 1e-30)
    some = x > 0
    log_ratio = numpy.where(
        near,
        numpy.log1p(numpy.where(near, difference, 0.0) / numpy.where(near, m, 1.0)),
        numpy.log(numpy.where(some, x, 1.0)) - numpy.where(some, log_m, 0.0),
    )
    return x * log_ratio - difference
