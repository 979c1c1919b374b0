"""Expectations of a law of a number by the double exponential rule: to rounding, whatever the ends of its support.

(Takahasi and Mori, *Double exponential formulas for numerical integration* (1974).)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy
from scipy.special import expit

from minilvm.distributions.divergences.supports import ends

T = numpy.linspace(-4.0, 4.0, 321)
U, DU = 0.5 * numpy.pi * numpy.sinh(T), 0.5 * numpy.pi * numpy.cosh(T) * (T[1] - T[0])


def expectation(p: Any, f: Callable[[Any, Any], Any], kinks: Sequence[Any] = ()) -> Any:
    """Return ∫ f(x, log p(x)) p(x) dx for each law of a batch; `kinks` are where the integrand is not smooth.

    It checks itself: the density has to integrate to 1.
    """
    total, mass = 0.0, 0.0
    points = [p.icdf(numpy.array(0.5)), *kinks]
    low, high = (numpy.broadcast_to(end, p.batch_shape) for end in ends(p))
    inner = numpy.sort([numpy.clip(point, low, high) for point in numpy.broadcast_arrays(*points, low)[:-1]], axis=0)
    for a, b in itertools.pairwise([low, *inner, high]):
        x, weight = _nodes(a, b, p.stddev)
        inside = (x > low) & (x < high)
        log_p = p.log_prob(numpy.where(inside, x, p.mean))
        weight = numpy.where(inside, weight, 0.0) * numpy.exp(log_p)
        seen = weight > 0
        mass = mass + weight.sum(axis=0)
        x, log_p = numpy.where(seen, x, p.mean), numpy.where(seen, log_p, 0.0)
        total = total + (weight * f(x, log_p)).sum(axis=0)
    numpy.testing.assert_allclose(mass, 1.0, rtol=1e-10)
    return total


def _nodes(a: Any, b: Any, scale: Any) -> Any:
    """Nodes and weights for the integral from a to b, of which one may be infinite; the batch is in the last axes."""
    u, du = (v.reshape(-1, *(1 for _ in numpy.shape(a))) for v in (U, DU))
    if numpy.isinf(a).all() or numpy.isinf(b).all():
        end, sign = (b, -1.0) if numpy.isinf(a).all() else (a, 1.0)
        far = scale * numpy.exp(u)
        return end + sign * far, far * du
    near_a, near_b = expit(2.0 * u), expit(-2.0 * u)  # the share of the way from a, and to b
    x = numpy.where(u < 0, a + (b - a) * near_a, b - (b - a) * near_b)
    return x, 2.0 * (b - a) * near_a * near_b * du
