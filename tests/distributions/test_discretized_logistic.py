"""The discretised logistic law: against fifty digits in the far tails, SciPy's logistic, and its own sum."""

from __future__ import annotations

import mpmath
import numpy
import pytest
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import check_grads, grad
from minilvm.distributions import Categorical, DiscretizedLogistic
from tests.distributions import checks
from tests.distributions.helpers import FEW, Uniforms, real_arrays, reals

locs, scales, levels = reals(-300, 600), reals(-3, 4).map(lambda e: 10.0**e), st.integers(0, 255)


def exact(x, loc, scale, low=0, high=255):
    """log p(x), and its gradient in μ and s, with five hundred digits: at 1e-3 levels the tails are e^−600000."""
    with mpmath.workdps(500):
        x, m, s = map(mpmath.mpf, (x, loc, scale))

        def sigmoid(z):
            return 1 / (1 + mpmath.exp(-z))

        def slope(z):
            return sigmoid(z) * sigmoid(-z)

        b, a = (x + 0.5 - m) / s, (x - 0.5 - m) / s
        if x == low == high:
            return 0.0, 0.0, 0.0
        if x == low:
            p, of_loc, of_scale = sigmoid(b), -slope(b) / s, -b * slope(b) / s
        elif x == high:
            p, of_loc, of_scale = sigmoid(-a), slope(a) / s, a * slope(a) / s
        else:
            p = sigmoid(b) * sigmoid(-a) * (1 - mpmath.exp(-1 / s))
            of_loc, of_scale = (slope(a) - slope(b)) / s, (a * slope(a) - b * slope(b)) / s
        return float(mpmath.log(p)), float(of_loc / p), float(of_scale / p)


def assert_keeps_its_digits(log_prob, x, loc, scale, dtype="float64", rtol=1e-11):
    """Value and gradient; in μ to the precision of 1/s, of which it is the difference of two multiples near x = μ."""
    loc, scale = (numpy.array(a, dtype) for a in (loc, scale))
    value, of_loc, of_scale = exact(float(x), float(loc), float(scale))
    ours = DiscretizedLogistic(loc, scale)
    gradient = grad(lambda law: log_prob(law, x))(ours)
    assert_allclose(log_prob(ours, x), value, rtol=rtol, atol=rtol)
    assert_allclose(gradient.loc, of_loc, rtol=rtol, atol=rtol / scale)
    assert_allclose(gradient.scale, of_scale, rtol=rtol, atol=rtol / scale)


@given(levels, locs, scales)
@example(200, 10.0, 1e-3)
@example(0, 255.0, 0.01)
@example(255, 0.0, 0.01)
@example(128, 128.0, 1e4)
def test_log_prob_and_gradient_keep_their_digits(x, loc, scale):
    assert_keeps_its_digits(DiscretizedLogistic.log_prob, x, loc, scale)


@given(levels, reals(-100, 400), st.floats(-1, 2).map(lambda e: 10.0**e))
def test_in_float32_too(x, loc, scale):
    assert_keeps_its_digits(DiscretizedLogistic.log_prob, x, loc, scale, "float32", rtol=3e-4)


def test_the_logarithm_of_a_difference_is_caught():
    def naive(law, x):
        F = np.special.expit
        return np.log(F((x + 0.5 - law.loc) / law.scale) - F((x - 0.5 - law.loc) / law.scale))

    assert_keeps_its_digits(naive, 12, 10.0, 1.0)
    with pytest.raises(AssertionError):
        assert_keeps_its_digits(naive, 40, 10.0, 1.0)
    with pytest.raises(AssertionError):
        assert_keeps_its_digits(naive, 0, 1.0, 1.0)  # an end, which takes the tail beyond it


@given(locs, st.floats(-2, 3).map(lambda e: 10.0**e), st.floats(-5, 260), st.floats(0, 1))
def test_distribution_function_and_quantiles(loc, scale, x, u):
    law = DiscretizedLogistic(loc, scale)
    expected = scipy.stats.logistic(loc, scale).cdf(numpy.floor(x) + 0.5)
    assert_allclose(law.cdf(x), 0.0 if x < 0 else 1.0 if x >= 255 else expected, rtol=1e-9, atol=1e-300)
    p = numpy.exp(law.log_prob(law.enumerate_support()))
    assert_allclose(law.cdf(numpy.arange(256)), numpy.cumsum(p), rtol=1e-9, atol=1e-12)
    level = law.icdf(u)
    assert law.cdf(level) >= u * (1 - 1e-12)
    assert level == 0 or law.cdf(level - 1) <= u * (1 + 1e-12)


def test_at_the_ends():
    law = DiscretizedLogistic([10.0, 200.0], 3.0)
    assert_array_equal(law.cdf([[-numpy.inf], [numpy.inf]]), [[0.0, 0.0], [1.0, 1.0]])
    assert numpy.isnan(law.cdf(numpy.nan)).all()
    assert_array_equal(law.icdf([[0.0], [1.0]]), [[0.0, 0.0], [255.0, 255.0]])
    assert_array_equal(DiscretizedLogistic([0.5, 1.5, 2.5], 1.0).icdf(0.5), [0.0, 1.0, 2.0])  # ½ downwards
    assert_array_equal(DiscretizedLogistic(3.0, 2.0, low=7, high=7).log_prob(7), 0.0)  # one level is certain
    with pytest.raises(ValueError, match=r"DiscretizedLogistic: value must be between 0 and 1; value is 1.5"):
        law.icdf(1.5)


@given(real_arrays((2,), -5.0, 10.0), reals(-2, 2).map(lambda e: 10.0**e))
def test_probabilities_sum_to_one_and_have_the_moments(loc, scale):
    law = DiscretizedLogistic(loc, scale, low=-3, high=4)
    x = law.enumerate_support()
    assert_array_equal(x, numpy.arange(-3.0, 5.0)[:, None] + numpy.zeros(2))
    p = numpy.exp(law.log_prob(x))
    assert_allclose(p.sum(axis=0), 1.0, rtol=1e-12)
    assert_allclose(law.mean, (x * p).sum(axis=0), rtol=1e-12, atol=1e-12)
    assert_allclose(law.variance, ((x - law.mean) ** 2 * p).sum(axis=0), rtol=1e-12, atol=1e-12)
    assert_allclose(law.entropy(), scipy.stats.entropy(p), rtol=1e-10, atol=1e-12)
    assert_allclose(law.log_prob(law.mode), law.log_prob(x).max(axis=0), rtol=1e-12)


def test_an_end_without_its_tail_is_caught():
    class Twin(DiscretizedLogistic):
        def _log_mass(self, x):
            return DiscretizedLogistic(self.loc, self.scale, -(10**6), 10**6)._log_mass(x)

    with pytest.raises(AssertionError):
        checks.assert_sums(Twin(1.0, 2.0, -3, 4), numpy.arange(-3.0, 5.0))


def test_what_is_no_level_is_impossible():
    outside = [-1.0, 256.0, 0.5, -numpy.inf, numpy.inf, numpy.nan]
    checks.assert_impossible(lambda **options: DiscretizedLogistic(100.0, 5.0, **options), outside, inside=120.0)
    with pytest.raises(ValueError, match=r"value must be an integer from 0 to 255; value\[1\] is 256"):
        DiscretizedLogistic(100.0, 5.0).log_prob(numpy.array([3, 256]))


@FEW
@given(real_arrays((3,), -3.0, 8.0), real_arrays((2, 1), -1.0, 2.0), st.integers(0, 5))
def test_it_is_differentiable(loc, log_scale, x):
    law = DiscretizedLogistic(loc, numpy.exp(log_scale), low=0, high=5)
    check_grads(lambda law: law.log_prob(x), [law])
    check_grads(lambda law: law.cdf([[x], [-1.0]]), [law])
    check_grads(checks.moments, [law])


def test_draws_follow_the_law():
    loc, scale = numpy.array([2.0, -20.0, 100.0, 3.4]), numpy.array([1.0, 5.0, 5.0, 1e-3])
    law = DiscretizedLogistic(loc, scale, low=0, high=7)
    draws = law.sample(20_000, rng=0)
    p = numpy.exp(law.log_prob(law.enumerate_support()))
    for i in range(4):
        checks.assert_counts_follow(draws[:, i], range(8), p[:, i])
    pair = DiscretizedLogistic([2.0, 2.0], 1.0, low=0, high=7).sample(20_000, rng=1)  # independent of one another
    q = p[3:, 0].sum()
    checks.assert_counts_follow((pair > 2).all(axis=-1), [True], [q * q])
    with pytest.raises(AssertionError, match="outcome"):
        checks.assert_counts_follow(draws[:, 0], range(8), numpy.roll(p[:, 0], 1))
    for greatest, level in ((False, 0.0), (True, 255.0)):
        assert DiscretizedLogistic(100.0, 50.0).sample(rng=Uniforms(greatest=greatest)) == level


def test_the_levels_of_a_flat_law_are_those_of_a_categorical():
    """Far wider than its levels, what is within is even, and the ends share the rest."""
    law = DiscretizedLogistic(127.5, 1e6)
    inside = law.log_prob(numpy.arange(1, 255))
    assert_allclose(inside, -numpy.log(4e6), rtol=1e-8)
    categorical = Categorical(logits=law.log_prob(law.enumerate_support()))
    assert_allclose(law.entropy(), categorical.entropy(), rtol=1e-9)


def test_float32_and_every_backend(xp):
    law = DiscretizedLogistic(numpy.array([2.0, 3.5, 9.0]), numpy.array(1.5), low=0, high=7)
    x = numpy.array([0.0, 4.0, 7.0])
    checks.assert_precision(law, x)
    checks.assert_every_backend(xp, law, x)
    assert tree.map(lambda a: a, law).high == 7


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scale": 0.0}, "DiscretizedLogistic: scale must be positive and finite; scale is 0.0"),
        ({"loc": [0.0, numpy.nan]}, r"DiscretizedLogistic: loc must be finite; loc\[1\] is nan"),
        ({"low": 5, "high": 4}, "DiscretizedLogistic: low is 5 and high 4; expected integers in this order"),
        ({"high": 7.5}, "DiscretizedLogistic: low is 0 and high 7.5; expected integers in this order"),
        ({"loc": [0.0, 1.0], "scale": [1.0, 1.0, 1.0]}, r"loc of shape \(2,\) and scale of shape \(3,\) do not"),
    ],
)
def test_impossible_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        DiscretizedLogistic(**{"loc": 0.0, "scale": 1.0, **parameters})
