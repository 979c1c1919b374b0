"""The uniform law of integers: against SciPy, its own sum, and at both ends of its range."""

from __future__ import annotations

import numpy
import pytest
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import grad
from minilvm.backend import to_numpy
from minilvm.distributions import DiscreteUniform
from tests.distributions import checks
from tests.distributions.helpers import Uniforms, assert_dtype, assert_of

ends = st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 1000)).map(lambda pair: (pair[0], sum(pair)))


@given(ends, st.floats(-5, 1005), st.floats(0, 1))
@example((1, 6), 1.0, 1 / 6)
@example((1, 6), 1.0, numpy.nextafter(1 / 6, 1.0))
@example((0, 48), 1.0, 43 / 49)
def test_it_is_scipys(pair, step, u):
    low, high = pair
    law, theirs = DiscreteUniform(low, high), scipy.stats.randint(low, high + 1)
    for x in (low, high, low + step):
        assert_allclose(law.cdf(x), theirs.cdf(x), rtol=1e-12, atol=1e-15)
    assert_allclose(law.log_prob([low, high]), theirs.logpmf([low, high]), rtol=1e-12, atol=1e-15)
    if high > low:  # where SciPy divides by 0
        checks.assert_moments(law, theirs)
    x = law.icdf(u)  # the least with F(x) ≥ u, by the definition
    assert low <= x <= high
    assert law.cdf(x) >= u
    assert x == low or law.cdf(x - 1) < u


@given(ends)
def test_probabilities_sum_to_one_and_have_the_moments(pair):
    low, high = pair
    law = DiscreteUniform([low, low + 3], [high, high + 3])
    x = law.enumerate_support()
    assert_array_equal(x, numpy.arange(low, high + 1)[:, None] + [0, 3])
    checks.assert_sums(law, x.astype(float), rtol=1e-9)
    assert_array_equal(law.mode, [low, low + 3])


def test_an_end_that_is_left_out_is_caught():
    class Twin(DiscreteUniform):
        @property
        def _n(self):
            return self.high - self.low

    with pytest.raises(AssertionError):
        checks.assert_sums(Twin(1, 6), numpy.arange(1.0, 7.0))


def test_what_is_no_integer_within_is_impossible():
    outside = [0.0, 7.0, 1.5, -numpy.inf, numpy.inf, numpy.nan]
    checks.assert_impossible(lambda **options: DiscreteUniform(1, 6, **options), outside, inside=6.0)
    with pytest.raises(ValueError, match=r"value must be an integer from low to high; value\[1\] is 7"):
        DiscreteUniform(1, 6).log_prob([1, 7])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_quantile_steps_just_where_the_distribution_function_does(dtype):
    """Though n k/n may be more than k when it is rounded, as it is for k = 7 and n = 25."""
    for n in range(1, 130):
        law = DiscreteUniform(*numpy.array([1, n], dtype))
        x = law.enumerate_support()
        u = law.cdf(x.astype(dtype))
        assert_array_equal(law.icdf(u), x)
        assert_array_equal(law.icdf(numpy.nextafter(u[:-1], numpy.array(1.0, dtype))), x[1:])


def test_cdf_and_quantiles_at_the_ends():
    law = DiscreteUniform([0, 1], 6)
    assert_array_equal(law.cdf([[-numpy.inf], [numpy.inf]]), [[0.0, 0.0], [1.0, 1.0]])
    assert numpy.isnan(law.cdf(numpy.nan)).all()
    assert_array_equal(law.icdf([[0.0], [1.0]]), [[0, 1], [6, 6]])
    with pytest.raises(ValueError, match=r"DiscreteUniform: value must be between 0 and 1; value is -0.5"):
        law.icdf(-0.5)


def test_the_ends_are_constants():
    law = DiscreteUniform(1.0, [6.0, 7.0])
    gradient = grad(lambda law: np.sum(law.log_prob(3) + law.cdf(3.0) + law.mean + law.variance + law.entropy()))(law)
    for leaf in tree.leaves(gradient):
        assert_array_equal(leaf, numpy.zeros_like(leaf))


def test_draws_follow_the_law():
    low, high = numpy.array([1, -3, 5]), numpy.array([6, 12, 5])
    draws = DiscreteUniform(low, high).sample(20_000, rng=0)
    assert_dtype(draws, "int64")
    for i in range(3):
        n = high[i] - low[i] + 1
        checks.assert_counts_follow(draws[:, i], numpy.arange(low[i], high[i] + 1), numpy.full(n, 1 / n))
    checks.assert_counts_follow(DiscreteUniform(1, 6).sample(20_000, rng=0), range(1, 7), numpy.full(6, 1 / 6))
    both = (draws[:, 0] > 3) & (draws[:, 1] > 4)  # independent of one another
    checks.assert_counts_follow(both, [True], [0.25])
    with pytest.raises(AssertionError, match="outcome"):
        checks.assert_counts_follow(draws[:, 0], numpy.arange(1, 6), numpy.full(5, 1 / 5))


def test_every_integer_of_many_can_be_drawn():
    """A float32 between 0 and 1 has 24 bits: of 2²⁶ integers it would reach each fourth."""
    draws = DiscreteUniform(numpy.zeros(1, "float32"), numpy.float32(2**26)).sample(1000, rng=0)
    checks.assert_counts_follow(draws % 4, range(4), numpy.full(4, 0.25))


@given(ends)
def test_no_uniform_number_draws_outside(pair):
    low, high = pair
    law = DiscreteUniform([low, low], [high, low])
    assert_array_equal(law.sample(rng=Uniforms(greatest=False)), [low, low])
    assert_array_equal(law.sample(rng=Uniforms(greatest=True)), [high, low])


def test_float32():
    law = DiscreteUniform(numpy.array([0, 1], "float32"), 6)
    for result in (law.log_prob([3, 3]), law.cdf(3), law.mean, law.variance, law.entropy()):
        assert_dtype(result, "float32")
    for result in (law.sample(3, rng=0), law.mode, law.icdf(0.5)):
        assert_dtype(result, "int64")


def test_every_backend(xp):
    law = DiscreteUniform(xp.asarray([1.0, 2.0]), 7)
    theirs = DiscreteUniform(numpy.array([1.0, 2.0]), 7)
    for ask in (
        lambda law: law.log_prob(3),
        lambda law: law.cdf(3.5),
        lambda law: law.icdf(0.5),
        lambda law: law.mean,
        lambda law: law.mode,
        lambda law: DiscreteUniform(law.low, law.low + 3).enumerate_support(),
    ):
        assert_of(xp, ask(law))
        assert_allclose(to_numpy(ask(law)), ask(theirs), rtol=1e-14)
    assert to_numpy(law.sample(4, rng=0)).shape == (4, 2)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.5, 3, "DiscreteUniform: low must be an integer; low is 0.5"),
        (0, [3, numpy.inf], r"DiscreteUniform: high must be an integer; high\[1\] is inf"),
        (0, [3, -1], r"DiscreteUniform: high must be at least low; high\[1\] is -1.0"),
        ([0, 5], 3, r"DiscreteUniform: high must be at least low; high\[1\] is 3.0"),
        ([0, 1], [2, 3, 4], r"low of shape \(2,\) and high of shape \(3,\) do not broadcast"),
    ],
)
def test_impossible_parameters_are_refused(low, high, message):
    with pytest.raises(ValueError, match=message):
        DiscreteUniform(low, high)


def test_laws_of_different_sizes_have_no_enumeration():
    with pytest.raises(ValueError, match="DiscreteUniform: laws of 3 to 4 values have no enumeration in common"):
        DiscreteUniform(0, [2, 3]).enumerate_support()
