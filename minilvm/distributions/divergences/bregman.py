"""What convex functions leave above their tangents: numbers ≥ 0 of which divergences are sums.

    B_F(x, y) = F(x) − F(y) − F′(y) (x − y) ≥ 0, and 0 only where x = y      (F strictly convex)

Within an exponential family the divergence is one of these, of the log-normaliser. Put together of terms that are ≥ 0
each, a divergence is never negative by rounding, and keeps its digits where p is near q.

(Banerjee, Merugu, Dhillon and Ghosh, *Clustering with Bregman Divergences*, JMLR 6 (2005), §4.)
"""

from __future__ import annotations

import numpy

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.distributions.parameters import to_shape
from minilvm.numpy.stirling import binet
from minilvm.rules import primitive


@primitive(t=lambda g, t: g * ((t - 1.0) / t))
def excess(t: Array) -> Array:
    """Return t − 1 − log t, that of F = −log at t and 1; +inf at 0.

    Both t − 1 and log t are exact to the last digit near 1, so their difference is right to a digit of t − 1.
    """
    with numpy.errstate(divide="ignore"):  # −log 0 = +inf is an answer
        return (t - 1.0) - numpy.log(t)


@primitive(w=lambda g, w: -g * np.expm1(-w))
def log_excess(w: Array) -> Array:
    """Return exp(−w) − 1 + w, which is `excess` of a ratio t = exp(−w) that is given by its logarithm."""
    with numpy.errstate(over="ignore"):  # so is exp(1000) = +inf
        return numpy.expm1(-w) + w


# ∂/∂a = F′(a) − F′(b) and ∂/∂b = −F″(b) (a − b), with F′(a) = μ′(a) − 1/2a.
@primitive(
    a=lambda g, a, b: to_shape(g * (0.5 * (a - b) / (a * b) + binet(1, a) - binet(1, b)), a.shape),
    b=lambda g, a, b: to_shape(g * (b - a) * (0.5 / np.square(b) + binet(2, b)), b.shape),
)
def shape_excess(a: Array, b: Array) -> Array:
    """Return B_F(a, b) for F(a) = log Γ(a) − a log a + a, the part of log Γ that is left when its slope is scaled away.

    By Stirling's formula F = ½ log 2π − ½ log a + μ(a), with Binet's function μ: ½ (t − 1 − log t) for t = a/b, and
    what μ leaves, by its Taylor series where a is so near b that its definition has no digits.
    """
    h = a - b
    near = numpy.abs(h) < 1e-3 * b
    of_binet = binet(0, a) - binet(0, b) - h * binet(1, b)
    if near.any():
        series = numpy.square(h) * (binet(2, b) / 2.0 + h * (binet(3, b) / 6.0 + h * binet(4, b) / 24.0))
        of_binet = numpy.where(near, series, of_binet)
    return 0.5 * excess(a / b) + of_binet


def scale_divergence(r: Array) -> Array:
    """Return ½ (r² − 1) − log r, the divergence of N(0, r²) from N(0, 1)."""
    return 0.5 * (r - 1.0) * (r + 1.0) - numpy.log(r)
