"""The incomplete gamma and beta functions, differentiable in all arguments: distribution functions, and their inverses.

Along x the slope of a distribution function F(x; a) is the density. Along the parameter it has no closed form, but

    ∂F/∂a = ∫_−∞^x p(t) s(t) dt = −∫_x^∞ p(t) s(t) dt,      s(t) = ∂ log p(t)/∂a, so that E[s] = 0

and here s changes its sign once: on one side of x it does not, and nothing cancels. What is wanted is how fast a
quantile moves, ∂x/∂a = −(∂F/∂a) / p(x), which is of moderate size where F and p underflow. It makes draws
differentiable (arXiv:1805.08498, eq. 5), and the other derivatives are products with it.

Along log x (gamma) or its log-odds (beta) the density is log-concave, and a parameter can be raised by 1, with

    P(a, x) = P(a + 1, x) + x^a exp(−x) / Γ(a + 1)

and its like, until the tails fall at least as exp(−|t|): then a few points of Gauss and Legendre see all of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import numpy

from minilvm.backend import Array, namespace
from minilvm.numpy.special import _elementwise, _scipy_of_several, digamma, expit, log_expit, softplus
from minilvm.numpy.stirling import digamma_step, log_beta_density, log_gamma_density
from minilvm.rules import primitive, unbroadcast

__all__ = ["betainc", "betaincinv", "gammainc", "gammaincinv", "log_gamma_slope", "log_odds_slope"]

FAR: Final = 26.0  # exp(−26) ≈ 5e-12 is the part of an integral that is left out
N_NODES: Final = 36
IN_CACHE: Final = 2**14  # numbers that are worked on at once

# How fast a quantile moves --------------------------------------------------------------------------------------------


def _log_gamma_slope_rule(g: Array, y: Array, a: Array, log_x: Array) -> Array:
    """∂y/∂t = −s − y ∂ log p/∂t, by differentiating y = −(∂F/∂a) / p."""
    return unbroadcast(g * (digamma(a) - log_x - y * (a - numpy.exp(log_x))), numpy.shape(log_x))


@primitive(log_x=_log_gamma_slope_rule)
def log_gamma_slope(a: Array, log_x: Array) -> Array:
    """Return ∂ log x/∂a with P(a, x) held: how fast a quantile, or a draw, of the gamma law moves with its parameter.

    With t = log x the density is exp(a t − exp(t)) / Γ(a), and s = t − ψ(a). The relative error is about 1e-10 for `a`
    from 1e-3 to 1e6 and probabilities from 1e-10 to 1 − 1e-10. Differentiable in `log_x`; not again in `a`.
    """
    precision = numpy.result_type(a, log_x, 0.0)
    a, t = numpy.add(a, 0.0, dtype=float), numpy.add(log_x, 0.0, dtype=float)
    x = numpy.exp(t)
    raise_a = x < 1.0
    b = numpy.where(raise_a, a + 1.0, a)
    s = t - digamma(b)
    way = numpy.where(s < 0, -1.0, 1.0)
    integral = _integral(
        lambda u: (x * numpy.expm1(way * u) - way * b * u, numpy.abs(s) + u),
        lambda u: way * (x * numpy.exp(way * u) - b),
        numpy.where(s < 0, (FAR + x) / b, numpy.sqrt(2.0 * FAR / numpy.maximum(x, 0.5))),
    )
    # Of P(a, x) = P(a + 1, x) + … the derivative along a says: a y(a) = x y(a + 1) − s, with the s of a + 1.
    return numpy.where(raise_a, (x * integral - s) / a, integral).astype(precision)


def _log_odds_slope_rule(g: Array, y: Array, a: Array, b: Array, log_odds: Array) -> Array:
    s = log_expit(log_odds) + digamma_step(a, b)
    return unbroadcast(-g * (s + y * (a * expit(-log_odds) - b * expit(log_odds))), numpy.shape(log_odds))


@primitive(log_odds=_log_odds_slope_rule)
def log_odds_slope(a: Array, b: Array, log_odds: Array) -> Array:
    """Return ∂t/∂a with I_x(a, b) held, for t = log (x / (1 − x)): how fast a quantile of the beta law moves.

    With t the density is σ(t)^a σ(−t)^b / B(a, b), and s = log σ(t) − ψ(a) + ψ(a + b). Accuracy and derivatives are as
    for `log_gamma_slope`. As 1 − x has the parameters in reverse, ∂t/∂b is −log_odds_slope(b, a, −t).
    """
    precision = numpy.result_type(a, b, log_odds, 0.0)
    a, b, t = (numpy.add(parameter, 0.0, dtype=float) for parameter in (a, b, log_odds))
    n = a + b
    log_x, log_rest = log_expit(t), log_expit(-t)
    left = log_x + digamma_step(a + 1.0, b) < 0
    way = numpy.where(left, -1.0, 1.0)
    A, B = numpy.where(left, a + 1.0, a), numpy.where(left, b, b + 1.0)
    s_less = log_x + digamma_step(A, b) - numpy.where(left, 1.0 / n, 0.0)  # s − 1/n, for A and B
    size = numpy.abs(s_less + 1.0 / n)

    def path(u: Array) -> tuple[Array, Array]:
        v = t + way * u
        bend = numpy.log1p(numpy.exp(-numpy.abs(v)))  # log σ(v) = min(v, 0) − bend
        drop = log_x - numpy.minimum(v, 0.0) + bend
        return A * drop + B * (log_rest + numpy.maximum(v, 0.0) + bend), size + numpy.abs(drop)

    integral = _integral(
        path,
        lambda u: way * (B * expit(t + way * u) - A * expit(-t - way * u)),
        (FAR + (n + 1.0) * softplus(-way * t)) / numpy.where(left, A, B),
    )
    # And here: a y(a, b) = n x y(a + 1, b) − (s − 1/n), b y(a, b) = n (1 − x) y(a, b + 1) + (s − 1/n).
    mass = n * integral * numpy.exp(numpy.where(left, log_x, log_rest))
    return ((mass + way * s_less) / numpy.where(left, a, b)).astype(precision)


@functools.cache
def _nodes() -> tuple[Any, Any]:
    """Nodes and weights of Gauss and Legendre on (0, 1)."""
    x, w = numpy.polynomial.legendre.leggauss(N_NODES)
    return 0.5 + 0.5 * x, 0.5 * w


def _integral(path: Callable[[Array], tuple[Array, Array]], slope: Callable[[Array], Array], end: Array) -> Array:
    """Return ∫_0^∞ exp(−h(u)) w(u) du, where `path` gives h and w, and `slope` h′, of a convex h with h(0) = 0.

    It ends where h is about `FAR`. That point is found from `end`, one beyond it, by four steps of Newton's method for
    log h against log u, where a power is a straight line.
    """
    for _ in range(4):
        height, _ = path(end)
        end = end * (FAR / height) ** (height / (end * slope(end)))
    nodes, weights = map(namespace(end).asarray, _nodes())
    total: Array = 0.0
    step = max(1, IN_CACHE // max(1, end.size))
    for i in range(0, N_NODES, step):
        u = nodes[i : i + step].reshape(-1, *(1 for _ in end.shape)) * end
        h, w = path(u)
        total = total + numpy.tensordot(weights[i : i + step], numpy.exp(-h) * w, 1)
    return end * total


# Distribution functions -----------------------------------------------------------------------------------------------


def _log(x: Array) -> Array:
    """log x, but finite at 0."""
    return numpy.log(numpy.maximum(x, numpy.finfo(x.dtype).tiny))


def _gammainc_rule(g: Array, a: Array, x: Array) -> Array:
    """−x p(x) ∂ log x/∂a, where x p(x) is `a` times the density of a + 1: at 0 too it is no 0 · ∞."""
    return -g * a * numpy.exp(log_gamma_density(a + 1.0, x)) * log_gamma_slope(a, _log(x))


@_elementwise(a=_gammainc_rule, x=lambda g, a, x: g * numpy.exp(log_gamma_density(a, x)))
def gammainc(a: Array, x: Array) -> Array:
    """Return P(a, x) = ∫_0^x t^(a − 1) exp(−t) dt / Γ(a), the distribution function of the gamma law."""
    return _scipy_of_several("gammainc", a, x)


@_elementwise(
    a=lambda g, y, a, p: g * y * log_gamma_slope(a, _log(y)),
    p=lambda g, y, a, p: g * numpy.exp(-log_gamma_density(a, y)),
)
def gammaincinv(a: Array, p: Array) -> Array:
    """Return the x for which P(a, x) is `p`."""
    return _scipy_of_several("gammaincinv", a, p)


def _beta_slopes(a: Array, b: Array, x: Array) -> tuple[Array, Array]:
    """∂t/∂a and ∂t/∂b, where t is the log-odds of x."""
    t = _log(x) - _log(1.0 - x)
    return log_odds_slope(a, b, t), -log_odds_slope(b, a, -t)


def _x_rest_density(a: Array, b: Array, x: Array) -> Array:
    """x (1 − x) p(x)."""
    n = a + b
    return a * b / (n * (n + 1.0)) * numpy.exp(log_beta_density(a + 1.0, b + 1.0, x))


def _betainc_rule(i: int) -> Callable[..., Array]:
    return lambda g, a, b, x: unbroadcast(
        -g * _x_rest_density(a, b, x) * _beta_slopes(a, b, x)[i], numpy.shape((a, b)[i])
    )


@primitive(
    a=_betainc_rule(0),
    b=_betainc_rule(1),
    x=lambda g, a, b, x: unbroadcast(g * numpy.exp(log_beta_density(a, b, x)), numpy.shape(x)),
)
def betainc(a: Array, b: Array, x: Array) -> Array:
    """Return I_x(a, b) = ∫_0^x t^(a − 1) (1 − t)^(b − 1) dt / B(a, b), the distribution function of the beta law."""
    return _scipy_of_several("betainc", a, b, x)


def _betaincinv_rule(i: int) -> Callable[..., Array]:
    return lambda g, y, a, b: unbroadcast(g * y * (1.0 - y) * _beta_slopes(a, b, y)[i], numpy.shape((a, b)[i]))


@primitive(
    a=_betaincinv_rule(0),
    b=_betaincinv_rule(1),
    p=lambda g, y, a, b, p: unbroadcast(g * numpy.exp(-log_beta_density(a, b, y)), numpy.shape(p)),
)
def betaincinv(a: Array, b: Array, p: Array) -> Array:
    """Return the x for which I_x(a, b) is `p`."""
    return _scipy_of_several("betaincinv", a, b, p)
