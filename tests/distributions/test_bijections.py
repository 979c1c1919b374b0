"""Bijections there and back, and their slopes against mpmath, as far out as 10⁴."""

from __future__ import annotations

import mpmath
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import check_grads, grad
from minilvm.backend import to_numpy
from minilvm.distributions import (
    AffineTransform,
    Bijection,
    ExpTransform,
    SigmoidTransform,
    SoftplusTransform,
    TanhTransform,
)
from minilvm.numpy import special
from tests.distributions.helpers import assert_dtype, assert_of, real_arrays, reals

EXACT = {  # y and log |dy/dx|, by mpmath
    "affine": (AffineTransform(3.0, 0.25), lambda x: 3 + x / 4, lambda x: -mpmath.log(4)),
    "affine, falling": (AffineTransform(3.0, -2.0), lambda x: 3 - 2 * x, lambda x: mpmath.log(2)),
    "exp": (ExpTransform(), mpmath.exp, lambda x: x),
    "sigmoid": (
        SigmoidTransform(),
        lambda x: 1 / (1 + mpmath.exp(-x)),
        lambda x: -mpmath.log1p(mpmath.exp(-x)) - mpmath.log1p(mpmath.exp(x)),
    ),
    "softplus": (SoftplusTransform(), lambda x: mpmath.log1p(mpmath.exp(x)), lambda x: -mpmath.log1p(mpmath.exp(-x))),
    "tanh": (TanhTransform(), mpmath.tanh, lambda x: -2 * mpmath.log(mpmath.cosh(x))),
}
each = pytest.mark.parametrize("name", EXACT)
LEAST = {"exp": -700, "softplus": -700}  # below it y is 0 to the last digit
GREATEST = {"exp": 700, "sigmoid": 30, "tanh": 15}  # above it y has no digits left to find x by, or none at all


@each
@given(reals(-1e4, 1e4))
def test_value_and_slope_are_right_to_the_last_digits(name, x):
    t, value, slope = EXACT[name]
    with mpmath.workdps(50):
        y, log_slope = value(mpmath.mpf(x)), float(slope(mpmath.mpf(x)))
    assert_allclose(t.log_abs_det_jacobian(numpy.float64(x), None), log_slope, rtol=1e-14, atol=1e-15)
    if x < GREATEST.get(name, numpy.inf):
        assert_allclose(t(numpy.float64(x)), float(y), rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize(
    ("x", "naive"),
    [
        (50.0, lambda x: numpy.log(1.0 - numpy.tanh(x) ** 2)),
        (-800.0, lambda x: numpy.log(special.expit(x)) + numpy.log(special.expit(-x))),
        (1e-9, lambda x: numpy.log(1.0 - numpy.exp(-2.0 * x))),
    ],
)
def test_naive_slopes_are_caught(x, naive):
    exact = {50.0: TanhTransform(), -800.0: SigmoidTransform(), 1e-9: SoftplusTransform()}[x]
    with numpy.errstate(divide="ignore"), pytest.raises(AssertionError):
        assert_allclose(naive(numpy.float64(x)), exact.log_abs_det_jacobian(numpy.float64(x), None), rtol=1e-12)


@each
@given(st.data())
def test_there_and_back(name, data):
    t = EXACT[name][0]
    x = numpy.float64(data.draw(reals(max(-1e4, LEAST.get(name, -30)), min(1e4, GREATEST.get(name, 1e4)))))
    y = t(x)
    assert t.codomain.check(y)
    digits = t.log_abs_det_jacobian(x, y) - numpy.log(abs(y) + 1e-300)  # lost by rounding y
    assert_allclose(t.inverse(y), x, rtol=1e-13, atol=1e-14 + 2e-16 * numpy.exp(-digits))
    assert_array_equal(t.inv(y), t.inverse(y))
    assert_array_equal(t.inv.inverse(x), y)
    assert t.inv.inv is t
    assert_allclose(t.inv.log_abs_det_jacobian(y, x), -t.log_abs_det_jacobian(x, y), rtol=1e-15)
    assert (t.inv.domain, t.inv.codomain, t.inv.shape) == (t.codomain, t.domain, t.shape)
    assert t.codomain.check(t.interior)
    assert t.inv.codomain.check(t.inv.interior)


@each
@given(reals(-8, 8))
def test_the_slope_is_the_derivative(name, x):
    t = EXACT[name][0]
    slope = grad(t)(numpy.float64(x))
    assert_allclose(np.log(np.abs(slope)), t.log_abs_det_jacobian(numpy.float64(x), None), rtol=1e-6, atol=1e-12)


@each
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_makes_no_end_of_the_codomain(name, dtype):
    """tanh(20) is 1, and artanh(1) is infinite: such a draw would be impossible by its own law."""
    t = tree.map(lambda a: a.astype(dtype), EXACT[name][0])
    x = numpy.array([-1e4, -100.0, -40.0, -20.0, -9.5, 0.0, 9.5, 20.0, 40.0, 80.0, 1e4], dtype)
    x = x[(x > (-80 if name in LEAST else -numpy.inf)) & (x < (81 if name == "exp" else numpy.inf))]
    y = t(x)
    assert_dtype(y, dtype)
    assert t.codomain.check(y).all()
    for result in (t.inverse(y), t.log_abs_det_jacobian(x, y), t.inv.log_abs_det_jacobian(y, x)):
        assert_dtype(result, dtype)
        assert numpy.isfinite(result).all()
    for leaf in (grad(lambda x: t(x).sum())(x), grad(lambda x: t.log_abs_det_jacobian(x, None).sum())(x)):
        assert_dtype(leaf, dtype)
        assert numpy.isfinite(leaf).all()


def test_the_ends_that_are_not_numbers():
    infinite = numpy.array([-numpy.inf, numpy.inf])
    assert_array_equal(ExpTransform()(infinite), [0.0, numpy.inf])
    assert_array_equal(ExpTransform().inverse(numpy.array([0.0, numpy.inf])), infinite)
    assert_array_equal(SoftplusTransform()(infinite), [0.0, numpy.inf])
    assert_array_equal(SoftplusTransform().inverse(numpy.array([0.0, numpy.inf])), infinite)
    assert_array_equal(SigmoidTransform().inverse(numpy.array([0.0, 1.0])), infinite)
    assert_allclose(SigmoidTransform()(infinite), [0.0, 1.0], atol=1e-300)
    assert_allclose(TanhTransform()(infinite), [-1.0, 1.0], rtol=1e-15)


@each
def test_it_is_differentiable(name):
    t = EXACT[name][0]
    x = numpy.array([-2.0, -0.3, 1.5])
    check_grads(lambda t, x: t(x), [t, x])
    check_grads(lambda t, x: t.inverse(x), [t, t(x)])
    check_grads(lambda t, x: t.log_abs_det_jacobian(x, None), [t, x])
    check_grads(lambda t, x: t.inv.log_abs_det_jacobian(t(x), x), [t, x])


@given(real_arrays((2, 3)), real_arrays((3,), 0.5, 2.0))
def test_a_slope_counts_once_for_each_element(x, scale):
    t = AffineTransform(0.0, scale)
    assert_allclose(t.log_abs_det_jacobian(x, t(x)), numpy.log(scale) * numpy.ones((2, 3)), rtol=1e-15, atol=1e-15)
    one = AffineTransform(0.0, 2.0)
    assert one.log_abs_det_jacobian(x, one(x)).shape == (2, 3)


def test_probabilities_turn_round_where_a_bijection_falls():
    p = numpy.array([0.0, 0.25, 1.0])
    assert_array_equal(ExpTransform().turned(p), p)
    assert_array_equal(AffineTransform(0.0, [1.0, -1.0, -1.0]).turned(p), [0.0, 0.75, 0.0])
    assert_array_equal(AffineTransform(0.0, -1.0).inv.turned(p), [1.0, 0.75, 0.0])


@each
def test_every_backend(xp, name):
    t, there = EXACT[name][0], tree.map(xp.asarray, EXACT[name][0])
    x = numpy.array([-2.0, 0.0, 1.5])
    for ours, theirs in (
        (there(xp.asarray(x)), t(x)),
        (there.inverse(xp.asarray(t(x))), x),
        (there.log_abs_det_jacobian(xp.asarray(x), None), t.log_abs_det_jacobian(x, None)),
        (there.turned(xp.asarray(x)), t.turned(x)),
    ):
        assert_of(xp, ours)
        assert_allclose(to_numpy(ours), theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("loc", "scale", "message"),
    [
        (0.0, [1.0, 0.0], r"AffineTransform: scale must be other than 0; scale\[1\] is 0.0"),
        (numpy.nan, 1.0, "AffineTransform: loc must be finite; loc is nan"),
        ([0.0, 1.0], [1.0, 2.0, 3.0], r"AffineTransform: loc of shape \(2,\) and scale of shape \(3,\) do not broad"),
    ],
)
def test_impossible_parameters_are_refused(loc, scale, message):
    with pytest.raises(ValueError, match=message):
        AffineTransform(loc, scale)


def test_a_bijection_needs_its_essentials():
    with pytest.raises(TypeError, match="abstract"):
        Bijection()
