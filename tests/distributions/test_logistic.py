"""The standard logistic law: its density far out, and draws that are finite whatever the uniform number."""

from __future__ import annotations

import numpy
import pytest
import scipy.stats
from hypothesis import given
from numpy.testing import assert_allclose

from minilvm.backend import to_numpy
from minilvm.distributions.logistic import draw_logistic, log_logistic
from tests.distributions.helpers import Uniforms, assert_dtype, assert_of, reals
from tests.statistics import assert_drawn_from


@given(reals(-1e4, 1e4))
def test_density_is_scipys(z):
    assert_allclose(log_logistic(z), scipy.stats.logistic.logpdf(z), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_follow_the_law(dtype):
    like = numpy.zeros((), dtype)
    z = draw_logistic((50_000,), like=like, rng=0)
    assert_dtype(z, dtype)
    assert_drawn_from(z, scipy.stats.logistic.cdf)
    with pytest.raises(AssertionError):
        assert_drawn_from(1.1 * z, scipy.stats.logistic.cdf)
    for greatest in (False, True):
        assert numpy.isfinite(draw_logistic((), like=like, rng=Uniforms(greatest=greatest)))


def test_every_backend(xp):
    z = draw_logistic((3,), like=xp.zeros(()), rng=0)
    assert_of(xp, z)
    assert_allclose(to_numpy(log_logistic(z)), scipy.stats.logistic.logpdf(to_numpy(z)), rtol=1e-14)
