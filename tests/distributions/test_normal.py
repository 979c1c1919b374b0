"""The normal law against SciPy, quadrature, and its own formula written out."""

from __future__ import annotations

import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm.autograd import check_grads, grad
from minilvm.backend import to_numpy
from minilvm.distributions import Normal
from minilvm.distributions.normal import log_density
from minilvm.rules import primitive
from tests.distributions.helpers import Nodes, assert_dtype, assert_of, assert_same_to_second_order, real_arrays, reals
from tests.statistics import assert_drawn_from, assert_no_common_sign

locs, scales, deviations = reals(-1e3, 1e3), reals(1e-3, 1e3), reals(-1e4, 1e4)


def composite(x, loc, scale):
    """The logarithm of exp(−½ ((x − μ)/σ)²) / (σ √2π), written out."""
    z = (x - loc) / scale
    return -0.5 * z**2 - np.log(scale) - 0.5 * np.log(2.0 * np.pi)


@given(locs, scales, deviations)
def test_log_prob_is_scipys_far_into_the_tails(loc, scale, z):
    x = loc + scale * z
    assert_allclose(Normal(loc, scale).log_prob(x), scipy.stats.norm.logpdf(x, loc, scale), rtol=1e-12, atol=1e-12)


@given(locs, scales, reals(-38, 38))
def test_cdf_and_icdf_are_scipys(loc, scale, z):
    law, theirs = Normal(loc, scale), scipy.stats.norm(loc, scale)
    x = loc + scale * z
    assert_allclose(law.cdf(x), theirs.cdf(x), rtol=1e-12)
    p = theirs.cdf(x)  # down to 1e-300
    assert_allclose(law.icdf(p), theirs.ppf(p), rtol=1e-12)


def test_cdf_and_icdf_at_the_ends():
    law = Normal([1.0, 2.0], 3.0)
    assert_array_equal(law.icdf([0.0, 1.0]), [-numpy.inf, numpy.inf])
    assert_array_equal(law.cdf([-numpy.inf, numpy.inf]), [0.0, 1.0])
    with pytest.raises(ValueError, match=r"Normal: value must be between 0 and 1; value\[1\] is 1.5"):
        law.icdf([0.0, 1.5])


@given(locs, scales)
def test_moments_are_scipys(loc, scale):
    law, theirs = Normal(loc, scale), scipy.stats.norm(loc, scale)
    assert_allclose([law.mean, law.variance, law.stddev], [theirs.mean(), theirs.var(), theirs.std()], rtol=1e-14)
    assert_allclose(law.entropy(), theirs.entropy(), rtol=1e-12, atol=1e-12)
    assert law.mode == law.mean


def assert_normalised(log_prob, loc, scale):
    """The trapezoid rule is exact to rounding here: its error falls as exp(−2π² / step²)."""
    step = 0.25 * scale
    x = loc + step * numpy.arange(-60, 61)
    p = numpy.exp(log_prob(x)) * step
    assert_allclose(p.sum(), 1.0, rtol=1e-12)
    assert_allclose((p * (x - loc)).sum() / scale, 0.0, atol=1e-12)
    assert_allclose((p * (x - loc) ** 2).sum(), scale**2, rtol=1e-12)


@given(reals(-10, 10), reals(1e-2, 1e2))
def test_density_integrates_to_one_and_has_the_moments(loc, scale):
    assert_normalised(Normal(loc, scale).log_prob, loc, scale)


def test_a_forgotten_normaliser_is_caught():
    with pytest.raises(AssertionError):
        assert_normalised(lambda x: composite(x, 0.0, 2.0) + numpy.log(2.0), 0.0, 2.0)


# Derivatives ----------------------------------------------------------------------------------------------------------


@given(real_arrays((4, 3)), real_arrays((3,)), real_arrays((4, 1)))
def test_fused_density_is_the_composite_to_second_order(x, loc, log_scale):
    assert_same_to_second_order(log_density, composite, [x, loc, numpy.exp(log_scale)])


def test_a_wrong_rule_is_caught():
    twin = primitive(scale=lambda g, x, loc, scale: g * np.square((x - loc) / scale) / scale)(composite)
    x, scale = numpy.array([1.0, 2.0]), numpy.array([1.0, 3.0])
    with pytest.raises(AssertionError, match="order 1"):
        assert_same_to_second_order(lambda scale: twin(x, 0.0, scale), lambda s: composite(x, 0.0, s), [scale])


@given(real_arrays((3,)), real_arrays((2, 1), 0.5, 2.0), real_arrays((2, 3)))
def test_log_prob_is_differentiable_in_parameters_and_value(loc, scale, x):
    check_grads(lambda law, x: law.log_prob(x), [Normal(loc, scale), x])


def test_the_rest_is_differentiable_too():
    law = Normal(numpy.array([0.3, -1.0]), numpy.array([[0.5], [2.0]]))
    x = numpy.array([0.1, 0.7])
    check_grads(lambda law, x: law.cdf(x), [law, x])
    check_grads(lambda law, p: law.icdf(p), [law, x])
    check_grads(lambda law: (law.entropy(), law.mean, law.variance, law.stddev), [law])
    assert_allclose(grad(lambda x: law.cdf(x).sum())(x), np.exp(law.log_prob(x)).sum(axis=0), rtol=1e-12)


def assert_exact_gradient(rsample):
    """E[z³] = μ³ + 3 μ σ², so ∂/∂μ = 3 μ² + 3 σ² and ∂/∂σ = 6 μ σ; the nodes make the average exact."""
    nodes = Nodes(4)
    law = Normal(numpy.array(0.7), numpy.array(1.3))
    gradient = grad(lambda law: np.sum(nodes.weights * rsample(law, nodes) ** 3))(law)
    assert_allclose([gradient.loc, gradient.scale], [3 * 0.7**2 + 3 * 1.3**2, 6 * 0.7 * 1.3], rtol=1e-12)


def test_gradient_through_draws_is_the_gradient_of_the_expectation():
    assert_exact_gradient(lambda law, nodes: law.rsample(4, rng=nodes))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda law, nodes: law.loc + law.sample(4, rng=nodes) - law.mean,  # σ is forgotten
        lambda law, nodes: law.loc + law.variance * nodes.standard_normal(4),
    ],
)
def test_a_wrong_gradient_through_draws_is_caught(wrong):
    with pytest.raises(AssertionError):
        assert_exact_gradient(wrong)


# Draws ----------------------------------------------------------------------------------------------------------------

LOC, SCALE = numpy.array([[-1.0, 4.0]]), numpy.array([[0.5, 2.0]])


def assert_draws_follow_the_law(draws):
    standard = (draws - LOC) / SCALE
    assert_drawn_from(standard, scipy.stats.norm.cdf)
    assert_no_common_sign(standard[..., 0], standard[..., 1])
    assert_no_common_sign(standard[1:], standard[:-1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sample", "rsample"])
def test_draws_follow_the_law(dtype, name):
    law = Normal(LOC.astype(dtype), SCALE.astype(dtype))
    assert_draws_follow_the_law(getattr(law, name)(50_000, rng=0))


@pytest.mark.parametrize("wrong", ["variance for deviation", "one ε for a batch", "a scale 5 % too large"])
def test_wrong_draws_are_caught(wrong):
    law = Normal(LOC, {"variance for deviation": SCALE**2, "a scale 5 % too large": 1.05 * SCALE}.get(wrong, SCALE))
    draws = law.sample(50_000, rng=0)
    if wrong == "one ε for a batch":
        draws = LOC + SCALE * (draws[..., :1] - LOC[..., :1]) / SCALE[..., :1]
    with pytest.raises(AssertionError):
        assert_draws_follow_the_law(draws)


# Precision, validation, backends --------------------------------------------------------------------------------------


@given(reals(-100, 100), reals(1e-2, 1e2), reals(-1e4, 1e4))
def test_float32_stays_float32_and_is_as_good_as_it_can_be(loc, scale, z):
    loc, scale, x = (numpy.array(a, dtype="float32") for a in (loc, scale, loc + scale * z))
    law = Normal(loc, scale)
    expected = scipy.stats.norm.logpdf(*(a.astype(float) for a in (x, loc, scale)))
    assert_allclose(law.log_prob(x), expected, rtol=1e-5, atol=1e-5)
    for result in (law.log_prob(x), law.log_prob(1), law.cdf(0.5), law.icdf(0.5), law.entropy(), law.variance):
        assert_dtype(result, "float32")
    assert_dtype(grad(lambda law: law.rsample(3, rng=0).sum() + law.log_prob(x))(law).scale, "float32")


@pytest.mark.parametrize(
    ("loc", "scale", "message"),
    [
        (0.0, [[1.0], [2.0], [-1.0]], r"Normal: scale must be positive; scale\[2, 0\] is -1.0"),
        (0.0, 0.0, "Normal: scale must be positive; scale is 0.0"),
        (0.0, [1.0, numpy.inf], r"Normal: scale must be finite; scale\[1\] is inf"),
        ([0.0, numpy.nan], 1.0, r"Normal: loc must be finite; loc\[1\] is nan"),
        ([0.0, 1.0], [1.0, 1.0, 1.0], r"Normal: loc of shape \(2,\) and scale of shape \(3,\) do not broadcast"),
    ],
)
def test_impossible_parameters_are_refused(loc, scale, message):
    with pytest.raises(ValueError, match=message):
        Normal(loc, scale)


def test_impossible_values_are_refused():
    with pytest.raises(ValueError, match=r"Normal: value must be finite; value\[0, 1\] is nan"):
        Normal(0.0, 1.0).log_prob([[0.0, numpy.nan]])


@given(st.data())
def test_every_backend(xp, data):
    loc, scale = data.draw(real_arrays(3)), numpy.exp(data.draw(real_arrays((2, 1))))
    x = data.draw(real_arrays((2, 3)))
    law = Normal(xp.asarray(loc), xp.asarray(scale))
    value = law.log_prob(xp.asarray(x))
    assert_of(xp, value)
    assert_allclose(to_numpy(value), scipy.stats.norm.logpdf(x, loc, scale), rtol=1e-12, atol=1e-12)
    assert_allclose(to_numpy(law.icdf(law.cdf(xp.asarray(loc)))), numpy.broadcast_to(loc, (2, 3)), atol=1e-12)
    gradient = grad(lambda law: law.log_prob(law.rsample(5, rng=0)).sum())(law)  # −Σ log σ and ½ ε², free of μ
    assert_allclose(to_numpy(gradient.loc), 0.0, atol=1e-7 / scale.min())
    assert_allclose(to_numpy(gradient.scale), -15 / scale, rtol=1e-7)
