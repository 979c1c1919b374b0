"""Divergences between normal laws: the fused one against its composite, and the others against one another."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import minilvm.numpy as np
from minilvm.distributions import Independent, LowRankMultivariateNormal, MultivariateNormal, Normal, kl_divergence
from minilvm.distributions.divergences.normals import normal_divergence
from minilvm.rules import primitive
from tests.distributions.helpers import assert_same_to_second_order, real_arrays


def composite(m, s, n, t):
    """log t/s + (s² + (m − n)²) / 2t² − ½."""
    return np.log(t) - np.log(s) + (s**2 + (m - n) ** 2) / (2.0 * t**2) - 0.5


@given(real_arrays((2, 3)), real_arrays((3,), -1.0, 1.0), real_arrays((3,)), real_arrays((), -1.0, 1.0))
def test_fused_divergence_is_the_composite_to_second_order(m, log_s, n, log_t):
    assert_same_to_second_order(normal_divergence, composite, [m, numpy.exp(log_s), n, numpy.exp(log_t)])


def test_a_wrong_rule_is_caught():
    twin = primitive(s=lambda g, s: -g / s)(composite)  # the variance's own term is forgotten
    with pytest.raises(AssertionError, match="order 1"):
        assert_same_to_second_order(
            lambda s: twin(1.0, s, 0.0, 2.0), lambda s: composite(1.0, s, 0.0, 2.0), [numpy.array([0.5, 3.0])]
        )


@given(real_arrays((2, 3)), real_arrays((2, 3), -1.0, 1.0), real_arrays((3,)), real_arrays((3,), -1.0, 1.0))
def test_a_diagonal_covariance_is_independent_elements(m, log_s, n, log_t):
    p, q = Normal(m, numpy.exp(log_s)), Normal(n, numpy.exp(log_t))
    as_vectors = [MultivariateNormal(law.loc, scale_tril=law.scale[..., None] * numpy.eye(3)) for law in (p, q)]
    low_rank = [LowRankMultivariateNormal(law.loc, numpy.zeros((3, 1)), law.scale**2) for law in (p, q)]
    expected = kl_divergence(Independent(p, 1), Independent(q, 1))
    for first in (as_vectors[0], low_rank[0]):
        for second in (as_vectors[1], low_rank[1]):
            assert_allclose(kl_divergence(first, second), expected, rtol=1e-9, atol=1e-9)


@given(st.data())
def test_a_covariance_of_low_rank_is_a_covariance(data):
    p, q = (
        LowRankMultivariateNormal(
            data.draw(real_arrays((*batch, 4))),
            data.draw(real_arrays((*batch, 4, 2))),
            numpy.array([0.5, 1.0, 2.0, 3.0]),
        )
        for batch in ((2,), (3, 1))
    )
    full = [MultivariateNormal(law.loc, law.covariance_matrix) for law in (p, q)]
    expected = kl_divergence(*full)
    for first in (p, full[0]):
        for second in (q, full[1]):
            assert_allclose(kl_divergence(first, second), expected, rtol=1e-8, atol=1e-8)
    assert kl_divergence(p, q).shape == (3, 2)
