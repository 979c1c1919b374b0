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


def shape_excess(x: Array, y: Array) -> Array:
    """Return B_F(x, y) for F(x) = log Γ(x) − x log x + x, the part of log Γ that is left when its slope is scaled away.

    By Stirling's formula F = ½ log 2π − ½ log x + μ(x), with Binet's function μ: ½ (t − 1 − log t) for t = x/y, and
    what μ leaves, by its Taylor series where x is so near y that its definition has no digits.
    """
    h = x - y
    near = np.abs(h) < 1e-3 * y
    series = np.square(h) * (binet(2, y) / 2.0 + h * (binet(3, y) / 6.0 + h * binet(4, y) / 24.0))
    return 0.5 * excess(x / y) + np.where(near, series, binet(0, x) - binet(0, y) - h * binet(1, y))


def scale_divergence(r: Array) -> Array:
    """Return ½ (r² − 1) − log r, the divergence of N(0, r²) from N(0, 1)."""
    return 0.5 * (r - 1.0) * (r + 1.0) - numpy.log(r)
