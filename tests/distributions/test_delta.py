"""The point mass: certain of one point, and of none beside it."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes
from numpy.testing import assert_array_equal

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import grad
from minilvm.distributions import Delta
from tests.distributions import checks
from tests.distributions.helpers import assert_dtype, real_arrays


@given(real_arrays(array_shapes(min_dims=0, max_dims=3, max_side=3)))
def test_all_the_mass_is_at_the_point(v):
    for event_dim in range(v.ndim + 1):
        law = Delta(v, event_dim=event_dim)
        n = v.ndim - event_dim
        assert (law.batch_shape, law.event_shape) == (v.shape[:n], v.shape[n:])
        assert_array_equal(law.sample(4, rng=0), numpy.broadcast_to(v, (4, *v.shape)))
        assert_array_equal(law.enumerate_support(), v[None])
        assert_array_equal(law.log_prob(law.sample(4, rng=0)), numpy.zeros((4, *v.shape[:n])))
        assert_array_equal(law.entropy(), numpy.zeros(v.shape[:n]))
        assert_array_equal(law.mean, v)
        assert_array_equal(law.mode, v)
        assert_array_equal(law.variance, numpy.zeros_like(v))


def test_another_point_is_impossible():
    make = lambda **options: Delta([1.0, 2.0], event_dim=1, **options)  # noqa: E731
    outside = [[1.0, 2.5], [0.0, 2.0], [numpy.nan, 2.0], [numpy.inf, 2.0]]
    checks.assert_impossible(make, outside, inside=[1.0, 2.0])
    checks.assert_impossible(lambda **options: Delta(3.0, **options), [3.0 + 1e-6, numpy.nan], inside=3.0)
    with pytest.raises(ValueError, match=r"Delta: value must be v; value\[1\] is 2.5"):
        make().log_prob([1.0, 2.5])


def test_a_mass_that_stands_for_a_density():
    law = Delta([[1.0], [2.0]], log_density=[-1.5, 0.5], event_dim=1, validate_args=False)
    assert_array_equal(law.log_prob([[1.0], [1.0]]), [-1.5, -numpy.inf])
    assert_array_equal(law.entropy(), [1.5, -0.5])
    assert_array_equal(Delta([1.0, 2.0], -1.5).entropy(), [1.5, 1.5])


def test_distribution_function_and_quantiles():
    law = Delta([1.0, 2.0])
    assert_array_equal(law.cdf(1.5), [1.0, 0.0])
    assert_array_equal(law.cdf([1.0, numpy.nextafter(2.0, 0.0)]), [1.0, 0.0])
    assert_array_equal(law.icdf([[0.0], [0.5], [1.0]]), [[1.0, 2.0]] * 3)
    with pytest.raises(ValueError, match=r"Delta: value must be between 0 and 1; value is 2.0"):
        law.icdf(2.0)
    for ask in (Delta([1.0], event_dim=1).cdf, Delta([1.0], event_dim=1).icdf):
        with pytest.raises(NotImplementedError, match=r"Delta has no .* in closed form"):
            ask(0.5)


def test_draws_and_moments_carry_the_gradient_of_the_point():
    law = Delta(numpy.array([1.0, 2.0]), numpy.array([0.0, 0.5]))
    gradient = grad(lambda law: np.sum(law.rsample(5, rng=0) ** 2) + np.sum(law.log_prob(law.sample(rng=0))))(law)
    assert_array_equal(gradient.v, [10.0, 20.0])
    assert_array_equal(gradient.log_density, [1.0, 1.0])
    assert_array_equal(grad(lambda law: np.sum(law.mean))(law).v, [1.0, 1.0])


def test_a_guide_that_is_certain_makes_the_bound_a_log_joint():
    """E_q[log p(x, z) − log q(z)] = log p(x, v) for q = δ(z − v) (N8)."""
    q = Delta(0.7)
    z = q.sample(3, rng=0)
    assert_array_equal(-(z**2) - q.log_prob(z), [-(0.7**2)] * 3)


def test_float32_stays_float32():
    law = tree.map(lambda a: a.astype("float32"), Delta([1.0, 2.0]))
    for result in (
        *(law.log_prob(law.v), law.cdf(1.0), law.icdf(0.5), law.entropy()),
        *(law.variance, law.stddev, law.sample(3, rng=0), law.enumerate_support()),
    ):
        assert_dtype(result, "float32")


@given(real_arrays((2, 3)))
def test_every_backend(xp, v):
    checks.assert_every_backend(xp, Delta(v, -0.5), v)
    checks.assert_every_backend(xp, Delta(v, -0.5, event_dim=1), v)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (([0.0, numpy.nan],), r"Delta: v must be finite; v\[1\] is nan"),
        (([0.0], numpy.inf), r"Delta: log_density must be finite; log_density is inf"),
        (([0.0, 1.0], [0.0, 1.0, 2.0]), r"Delta: v has shape \(2,\) and log_density \(3,\); expected"),
        (([0.0, 1.0], [0.0, 1.0], 1), r"Delta: v has shape \(2,\) and log_density \(2,\); expected .* 1 event axes"),
        ((0.0, 0.0, 1), r"Delta: v has shape \(\) and log_density \(\); expected .* 1 event axes"),
        ((0.0, 0.0, -1), r"Delta: v has shape \(\)"),
    ],
)
def test_impossible_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        Delta(*parameters)
