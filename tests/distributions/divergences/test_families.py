"""Divergences within a family: formulas whose terms do not cancel, and a slope where |d| has none."""

from __future__ import annotations

import numpy
from numpy.testing import assert_allclose

from minilvm.autograd import check_grads, grad, hessian
from minilvm.distributions import Laplace, kl_divergence
from minilvm.distributions.divergences.families import distance_excess


def test_laplace_is_smooth_between_equal_means():
    """Its Hessian in the mean is Fisher's information, 1/b²."""
    p = Laplace(0.5, 2.0)
    to_p = lambda loc: kl_divergence(p, Laplace(loc, 2.0))  # noqa: E731
    assert grad(to_p)(numpy.array(0.5)) == 0.0
    assert_allclose(hessian(to_p)(numpy.array(0.5)), 0.25, rtol=1e-12)
    check_grads(distance_excess, [numpy.array([-1.5, 0.3, 0.0])])
