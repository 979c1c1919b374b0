"""Densities of the gamma and the beta law, by Stirling's formula: what is large in them cancels before it is computed.

    log Γ(a) = (a − ½) log a − a + ½ log 2π + μ(a),      μ(a) = Binet's function, about 1 / 12a

At a = 10⁶ the terms of the textbook's log-density are near 10⁷, and 9 of its 16 digits are lost in their sum. With Γ
replaced by the right-hand side the large terms meet as log(x / a), which is near 0 where the density is not.

(Loader, *Fast and accurate computation of binomial probabilities*, 2000. Binet's function: DLMF, §5.9 and §5.11.)
"""

from __future__ import annotations

import math
from typing import Final

import numpy

from minilvm.backend import Array
from minilvm.numpy.special import _elementwise, _slope, digamma, gammaln, polygamma, xlog1py, xlogy
from minilvm.rules import primitive, unbroadcast

__all__ = ["HALF_LOG_TWO_PI", "binet", "digamma_step", "log_beta_density", "log_gamma_density", "log_gamma_kernel"]

HALF_LOG_TWO_PI: Final = 0.5 * math.log(2.0 * math.pi)
LARGE: Final = 10.0  # from here on the series below is exact to rounding
# μ(a) = Σ_k B_2k / (2k (2k − 1) a^(2k−1)), with Bernoulli's numbers B_2k.
BINET: Final = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)


def _binet_rule(g: Array, n: int, a: Array) -> Array:
    return g * binet(n + 1, a)


@primitive(a=_binet_rule)
def binet(n: int, a: Array) -> Array:
    """Return the n-th derivative of μ(a) = log Γ(a) − (a − ½) log a + a − ½ log 2π, for a > 0; `n` is a number.

    To full precision in absolute terms, and in relative terms too where `a` is large and the difference tiny.

    >>> binet(0, numpy.array([1.0, 1e9]))
    array([8.10614668e-02, 8.33333333e-11])
    """
    few, many = numpy.minimum(a, LARGE), numpy.maximum(a, LARGE)
    series, step = 0.0 * many, 1.0 / (many * many)
    for k in range(len(BINET), 0, -1):
        series = series * step + BINET[k - 1] * (-1) ** n * math.perm(2 * k - 2 + n, n)
    series = series * many ** (-1 - n)
    if n == 0:
        difference = gammaln(few) - (few - 0.5) * numpy.log(few) + few - HALF_LOG_TWO_PI
    elif n == 1:
        difference = digamma(few) - numpy.log(few) + 0.5 / few
    else:
        elementary = math.factorial(n - 2) * few ** (1 - n) + 0.5 * math.factorial(n - 1) * few**-n
        difference = polygamma(n - 1, few) - (-1) ** n * elementary
    return numpy.where(a < LARGE, difference, series)


def digamma_step(a: Array, b: Array) -> Array:
    """Return ψ(a + b) − ψ(a), which has digits left where b is much the smaller."""
    return numpy.log1p(b / a) + 0.5 * b / (a * (a + b)) + binet(1, a + b) - binet(1, a)


def _times_log_ratio(factor: Array, log_ratio: Array, excess: Array) -> Array:
    """f log r, given log r, and r − 1 from which it is better known near 1; 0 log 0 = 0."""
    with numpy.errstate(divide="ignore", invalid="ignore"):
        log_ratio = numpy.where(numpy.abs(excess) < 0.5, numpy.log1p(excess), log_ratio)
        return numpy.where(factor == 0, 0.0, factor * log_ratio)


def log_gamma_kernel(a: Array, x: Array, log_ratio: Array) -> Array:
    """Return (a − 1) log x − x − log Γ(a), given log(x / a) too, which may be known where `x` has underflowed.

    For plain arrays: it has no derivative.
    """
    large = _times_log_ratio(a - 1.0, log_ratio, (x - a) / a) - (x - a)
    return large - 0.5 * numpy.log(a) - HALF_LOG_TWO_PI - binet(0, a)


# With log p = (a − 1) log x − x − log Γ(a):   ∂/∂a = log x − ψ(a),   ∂/∂x = (a − 1) / x − 1.
@_elementwise(
    a=lambda g, a, x: xlogy(g, x) - g * digamma(a),
    x=lambda g, a, x: _slope(g * (a - 1.0), x, 0.0) - g,
)
def log_gamma_density(a: Array, x: Array) -> Array:
    """Return (a − 1) log x − x − log Γ(a), element by element, for a > 0 and x ≥ 0.

    Of x it is the log-density of the gamma law; of a = k + 1, the log-probability of k in Poisson's law of mean x.
    """
    with numpy.errstate(divide="ignore"):
        return log_gamma_kernel(a, x, numpy.log(x / a))


def _a_rule(g: Array, a: Array, b: Array, x: Array) -> Array:
    return unbroadcast(xlogy(g, x) + g * digamma_step(a, b), numpy.shape(a))


def _b_rule(g: Array, a: Array, b: Array, x: Array) -> Array:
    return unbroadcast(xlog1py(g, -x) + g * digamma_step(b, a), numpy.shape(b))


def _x_rule(g: Array, a: Array, b: Array, x: Array) -> Array:
    return unbroadcast(_slope(g * (a - 1.0), x, 0.0) - _slope(g * (b - 1.0), 1.0 - x, 0.0), numpy.shape(x))


# With log p = (a − 1) log x + (b − 1) log(1 − x) − log B(a, b):   ∂/∂a = log x − ψ(a) + ψ(a + b),   and so on.
@primitive(a=_a_rule, b=_b_rule, x=_x_rule)
def log_beta_density(a: Array, b: Array, x: Array) -> Array:
    """Return (a − 1) log x + (b − 1) log(1 − x) − log B(a, b), element by element, for a, b > 0 and 0 ≤ x ≤ 1.

    Of x it is the log-density of the beta law. Of a = k + 1 and b = n − k + 1 it is log (n + 1) more than the
    log-probability of k successes in n trials.
    """
    n = a + b
    t = numpy.where(x < 0.5, n * x - a, b - n * (1.0 - x))  # n (x − a/n): one rounding for both logarithms
    with numpy.errstate(divide="ignore"):
        log_x, log_rest = numpy.log(n * x / a), numpy.log(n * (1.0 - x) / b)
    large = _times_log_ratio(a - 1.0, log_x, t / a) + _times_log_ratio(b - 1.0, log_rest, -t / b)
    small = 1.5 * numpy.log(n) - 0.5 * (numpy.log(a) + numpy.log(b)) - HALF_LOG_TWO_PI
    return large + small - (binet(0, a) + binet(0, b) - binet(0, n))
