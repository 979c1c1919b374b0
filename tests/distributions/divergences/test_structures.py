"""Divergences between laws made of laws: sums of those of their parts."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from numpy.testing import assert_allclose

from minilvm.distributions import Independent, Normal, kl_divergence
from tests.distributions.helpers import real_arrays


@given(real_arrays((2, 3)), real_arrays((3,)))
def test_independent_elements_add_up(m, n):
    p, q = Normal(m, 2.0), Normal(n, numpy.array([0.5, 1.0, 2.0]))
    expected = kl_divergence(p, q).sum(axis=-1)
    assert_allclose(kl_divergence(Independent(p, 1), Independent(q, 1)), expected, rtol=1e-12)
    assert_allclose(kl_divergence(Independent(p, 2), Independent(q.expand((2, 3)), 2)), expected.sum(), rtol=1e-12)


def test_events_must_be_made_in_the_same_way():
    base = Normal(numpy.zeros((2, 3)), 1.0)
    with pytest.raises(TypeError, match="p reads 2 batch axes of its base as the event and q 1"):
        kl_divergence(Independent(base, 2), Independent(Independent(base, 1), 1))
